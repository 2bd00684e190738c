"""The style sheet of the HTML report: quiet, readable, light and dark, and on paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fbfaf7; --card: #ffffff; --ink: #22252a; --soft: #5b626b; --line: #e4e1d9; --tint: #f3f1ea;
  --gold: #866015; --pass: #1b7446; --fail: #b3261e; --unsure: #8a5a00; --waiting: #5b626b;
  --hue0: #866015; --hue1: #1f5fa8; --hue2: #1b7446; --hue3: #a3341f; --hue4: #6b3fa0; --hue5: #0b7285; --hue6: #a02468; --hue7: #4d5a1f;
  --good: #1b744614; --body: "Charter", "Bitstream Charter", "Iowan Old Style", "Source Serif 4", Georgia, serif;
  --plain: system-ui, -apple-system, "Segoe UI", "Inter", "Noto Sans", "Liberation Sans", sans-serif;
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #16181b; --card: #1d2024; --ink: #e7e4de; --soft: #a3a9b0; --line: #32363b; --tint: #23272b;
    --gold: #d9b25f; --pass: #67cf98; --fail: #ff9088; --unsure: #e8bd62; --waiting: #a3a9b0; --good: #67cf981a;
    --hue0: #d9b25f; --hue1: #7fb3ee; --hue2: #67cf98; --hue3: #ff9a80; --hue4: #c3a3ef; --hue5: #63cfdd; --hue6: #f29ac6; --hue7: #c1cf7a;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; scroll-padding-top: 1rem; }
body { margin: 0 auto; max-width: 70rem; padding: 3.5rem 2rem 6rem; background: var(--paper); color: var(--ink);
  font: 400 15px/1.55 var(--plain); font-variant-numeric: tabular-nums lining-nums; overflow-wrap: break-word; }
h1, h2, h3 { font-family: var(--body); font-weight: 600; line-height: 1.2; text-wrap: balance; margin: 0; }
h1 { font-size: 2.35rem; letter-spacing: -.012em; }
h2 { font-size: 1.5rem; margin: 0 0 .35rem; }
h3 { font-size: 1.2rem; }
h4 { font: 600 .78rem/1.4 var(--plain); letter-spacing: .06em; text-transform: uppercase; color: var(--soft); margin: 1.8rem 0 .5rem; }
p { margin: .5rem 0; max-width: 46rem; }
a { color: var(--gold); text-decoration-thickness: 1px; text-underline-offset: .18em; }
a:focus-visible, summary:focus-visible, [tabindex]:focus-visible { outline: 2px solid var(--gold); outline-offset: 3px; border-radius: 3px; }
code, pre, .id { font-family: var(--mono); font-size: .86em; }
.skip { position: absolute; left: -999px; } .skip:focus { left: 1rem; top: 1rem; background: var(--card); padding: .5rem 1rem; }
.soft, .faint { color: var(--soft); }
.lead { font: 400 1.2rem/1.45 var(--body); color: var(--ink); margin: .9rem 0 1.1rem; }
.tally { display: flex; flex-wrap: wrap; gap: .5rem .6rem; list-style: none; margin: 0; padding: 0; }
.tally li, .badge { border: 1px solid currentcolor; border-radius: 99px; padding: .08rem .7rem; font-weight: 600; white-space: nowrap; }
.badge { font-size: .84rem; }
.pass { color: var(--pass); } .fail { color: var(--fail); } .unsure { color: var(--unsure); } .waiting { color: var(--waiting); }
.meta { color: var(--soft); font-size: .88rem; margin: 1rem 0 0; max-width: none; } .meta span + span::before { content: " · "; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.4rem; list-style: none; margin: 1.6rem 0 0; padding: .8rem 0; border: solid var(--line); border-width: 1px 0; }
nav a { color: var(--ink); text-decoration: none; } nav a:hover { color: var(--gold); text-decoration: underline; }
section { margin-top: 4rem; }
article { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.5rem 1.7rem 1.6rem; margin-top: 1.4rem; }
article:target, tr:target, .at:target { outline: 2px solid var(--gold); outline-offset: 2px; }
.heading { display: flex; flex-wrap: wrap; gap: .3rem .9rem; align-items: baseline; justify-content: space-between; }
.scroll { overflow-x: auto; margin: .8rem 0 0; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; vertical-align: middle; padding: .5rem .9rem .5rem 0; border-bottom: 1px solid var(--line); }
th:last-child, td:last-child { padding-right: 0; }
thead th { font-size: .78rem; font-weight: 600; color: var(--soft); white-space: nowrap; }
tbody th { font-weight: 600; }
.num { text-align: right; white-space: nowrap; }
.board .group th { padding-top: 1.5rem; border-bottom: 0; font: 600 1.02rem/1.3 var(--body); }
.board .group .id { font-weight: 400; color: var(--soft); margin-left: .6rem; }
.board td.strip { width: 26%; min-width: 11rem; }
.board .word { font-weight: 600; white-space: nowrap; }
.board .group a { color: inherit; text-decoration: none; } .board .group a:hover { text-decoration: underline; }
.next { list-style: none; padding: 0; margin: 1.8rem 0 0; } .next li { border-left: 3px solid; padding: .15rem 0 .15rem .9rem; margin: .8rem 0; }
.next li > * { color: var(--ink); } .next li > b { color: inherit; } .next li > code { display: block; margin-top: .2rem; color: var(--soft); overflow-wrap: anywhere; }
sup { font-size: .7em; line-height: 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.4rem; margin: .9rem 0 0; font-size: .92rem; }
dt { color: var(--soft); } dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
.prose { font: 400 1.04rem/1.6 var(--body); white-space: pre-wrap; margin: .9rem 0; max-width: 46rem; }
pre { background: var(--tint); border-radius: 6px; padding: .8rem 1rem; margin: .6rem 0; overflow-x: auto; line-height: 1.5; font-size: .8rem; tab-size: 4; }
pre.log { border-left: 3px solid var(--fail); white-space: pre-wrap; overflow-wrap: anywhere; }
.source { counter-reset: line; } .source .at { display: block; } .source .at::before { content: attr(data-line); display: inline-block; width: 3.2em; color: var(--soft); user-select: none; }
details { margin: .8rem 0 0; } summary { cursor: pointer; color: var(--soft); width: fit-content; } summary:hover { color: var(--gold); }
figure { margin: 0; min-width: 0; } figcaption { font-size: .85rem; color: var(--soft); } figcaption b { color: var(--ink); font-weight: 600; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); gap: 1.4rem 2rem; }
.zoo td { min-width: 12rem; } .zoo td.num { min-width: 0; } .overrides { display: block; max-width: 14rem; font-weight: 400; color: var(--soft); }
.said { text-transform: none; letter-spacing: 0; font-size: .95rem; color: var(--ink); }
.front .figures { grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)); }
.front .figures.wide { grid-template-columns: 1fr; }
.front { margin-top: 2.2rem; } .standings { list-style: none; padding: 0; margin: .6rem 0; font-size: .92rem; }
.wide { min-width: 44rem; }
.opinions { list-style: none; padding: 0; margin: 0; } .opinions li + li { margin-top: .3rem; } dd pre { margin-top: .4rem; } .details { margin: 0; padding-left: 1.2rem; }
svg.chart { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font: 11px var(--plain); fill: var(--soft); } svg .label { font: 12px var(--mono); fill: var(--ink); }
svg .axis, svg .grid { stroke: var(--line); stroke-width: 1; } svg .cut { stroke: var(--soft); stroke-dasharray: 2 4; }
svg .good { fill: var(--good); } svg .threshold { stroke: var(--ink); stroke-width: 2; }
svg .interval { fill: currentcolor; opacity: .38; } svg .value { stroke: currentcolor; stroke-width: 2.5; }
svg .seed { fill: var(--ink); fill-opacity: .5; stroke: var(--card); stroke-width: .8; }
svg .one, svg .lost, svg .centre { fill: none; stroke-linejoin: round; }
svg .one { stroke: var(--soft); stroke-width: 1; opacity: .55; } svg path.lost { stroke: var(--fail); stroke-width: 1; stroke-dasharray: 4 3; }
svg .centre { stroke: var(--gold); stroke-width: 2.4; }
svg .ran { fill: var(--soft); opacity: .6; } svg rect.lost { fill: var(--fail); opacity: .9; } svg rect.shared { opacity: .3; }
svg .bar { stroke: currentcolor; stroke-width: 1.6; opacity: .55; } svg .stair { fill: none; stroke: var(--gold); stroke-width: 1.2; stroke-dasharray: 5 3; }
svg .front { fill: var(--gold); stroke: var(--card); } svg .unsure { fill: var(--paper); stroke: var(--gold); stroke-width: 1.8; }
svg g.record { fill: none; stroke: none; }
svg .dominated { fill: var(--paper); stroke: var(--soft); stroke-width: 1.6; } svg .name { fill: var(--ink); }
svg.pareto .label { paint-order: stroke; stroke: var(--paper); stroke-width: 3px; }
.figures.side { grid-template-columns: repeat(auto-fill, minmax(min(100%, 30rem), 1fr)); margin-top: 2.2rem; }
svg.lines .model, svg.lines .leader { fill: none; stroke: currentcolor; stroke-width: 1.7; stroke-linejoin: round; } svg.lines .leader { stroke-width: .8; opacity: .6; }
svg.lines .window { fill: none; stroke: currentcolor; stroke-width: 9; stroke-linecap: round; stroke-linejoin: round; opacity: .2; }
svg.lines circle { fill: currentcolor; } svg.lines g .label { fill: currentcolor; }
svg .hue0 { color: var(--hue0); } svg .hue1 { color: var(--hue1); } svg .hue2 { color: var(--hue2); } svg .hue3 { color: var(--hue3); }
svg .hue4 { color: var(--hue4); } svg .hue5 { color: var(--hue5); } svg .hue6 { color: var(--hue6); } svg .hue7 { color: var(--hue7); }
svg .decision { fill: var(--gold); stroke: var(--paper); stroke-width: 1.5; }
footer { margin-top: 4rem; color: var(--soft); font-size: .85rem; }
@media (max-width: 46rem) {
  body { padding: 2rem 1.1rem 4rem; } h1 { font-size: 1.75rem; } section { margin-top: 3rem; } article { padding: 1.1rem; }
  .board thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
  .board, .board tbody, .board tr, .board th, .board td { display: block; width: 100%; padding: 0; border: 0; text-align: left; }
  .board tr.target { display: grid; grid-template-columns: 1fr 1fr; gap: .15rem 1rem; padding: .8rem 0; border-bottom: 1px solid var(--line); }
  .board td.strip { grid-column: 1 / -1; order: 1; width: 100%; margin: .3rem 0; } .board td.word { order: 0; text-align: right; } .board td { order: 2; white-space: normal; }
  .board td[data-label=interval] { grid-column: 1 / -1; }
  .board td[data-label]::before { content: attr(data-label) " "; color: var(--soft); font-size: .82rem; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .5rem; }
}
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
@media print {
  :root { --paper: #fff; --card: #fff; } body { max-width: none; padding: 0; font-size: 10pt; } nav, .skip { display: none; }
  article, tr, figure { break-inside: avoid; } h2, h3, h4 { break-after: avoid; } .scroll { overflow: visible; }
  details:not([open])::details-content { content-visibility: visible; display: block; block-size: auto; } a { color: inherit; }
}
"""
