"""What each fault code means, with a wrong and a right example: the text behind `orchestrate explain P007`."""

from __future__ import annotations


def _told(meaning: str, wrong: str, right: str) -> str:
    def quoted(text: str) -> str:
        return "\n".join(f"    {line}".rstrip() for line in text.split("\n"))

    return f"{meaning}\n\nwrong:\n\n{quoted(wrong)}\n\nright:\n\n{quoted(right)}\n"


_TABLE = "| metric     |    | threshold | rule       |\n| ---------- | -- | --------: | ---------- |\n"
_ROW = "| `accuracy` | ≥  |      0.99 | every seed |"
_PLAN = f"""# Plan: a first one

## dense-recall: attention sets the bar

- **module**: `transformer`
- **benchmark**: `mqar-64x4-v1`

{_TABLE}{_ROW}"""


def _row(metric: str, comparator: str, threshold: str, rule: str) -> str:
    return f"| {metric} | {comparator} | {threshold} | {rule} |"


EXPLAIN: dict[str, str] = {
    "P001": _told(
        "A plan is UTF-8 text, so that it reads the same on every machine and its digest means something.",
        'a file saved as Latin-1, where "é" is the single byte 0xe9',
        'the same file saved as UTF-8, where "é" is the two bytes 0xc3 0xa9',
    ),
    "P002": _told(
        "A plan begins with a title (`# `) and has at least one task (`## id: title`) below it.",
        "## dense-recall: attention sets the bar\n...",
        _PLAN,
    ),
    "P003": _told(
        "A list item that begins with a bold word and a colon is a setting, and this setting does not exist.\n"
        "The settings are module, benchmark, needs, budget, seeds, device, priority, gate, data, pulls, improve,\n"
        "trials and search.",
        "- **bencmark**: `mqar-64x4-v1`",
        "- **benchmark**: `mqar-64x4-v1`",
    ),
    "P004": _told(
        "A setting is one list item at the left margin, with its name in bold and a colon behind it. Written in another\n"
        "way Markdown reads it as prose, and it would have been lost without a word.",
        "- module: `retnet`\n- **seeds** 5\nThis prose joins the setting above it.",
        "- **module**: `retnet`\n- **seeds**: 5\n\nThis prose stands alone.",
    ),
    "P005": _told(
        "The second cell of a target says how the metric has to stand to the threshold: < <= = >= > or ≤ ≥.",
        _row("`accuracy`", "=>", "0.99", "every seed"),
        _row("`accuracy`", ">=", "0.99", "every seed"),
    ),
    "P006": _told(
        "The fourth cell of a target names, before anything is run, the statistic by which seeds become one verdict:\n"
        "`every seed`, `mean`, `median`, `iqm`, `lower 95%`, `upper 95%`, `anytime 95%`, `p<0.01 vs task`.",
        _row("`accuracy`", "≥", "0.99", "most seeds"),
        _row("`accuracy`", "≥", "0.99", "median"),
    ),
    "P007": _told(
        "A target can only ask for a number that the task's benchmark or its module reports.\n"
        "`orchestrate modules NAME` lists the metrics of either.",
        _row("`acuracy`", "≥", "0.99", "every seed"),
        _row("`accuracy`", "≥", "0.99", "every seed"),
    ),
    "P008": _told(
        "The third cell of a target is a number with its unit, or a factor of what another task measured.\n"
        "Thousands may be parted by `_`, and `2e6` is a number too; a comma is not a part of a number.",
        _row("`steps`", "≤", "1,000", "median"),
        _row("`steps`", "≤", "1_000", "median"),
    ),
    "P009": _told(
        "A threshold is written in a unit of the metric: bytes in B, KiB, MiB, GiB; seconds in us, ms, s; fractions as a\n"
        "plain number or in %; operations in FLOP, GFLOP; bits per byte in bpb; ratios in x. And it is one that the metric\n"
        "can miss: no accuracy is larger than 1, and a `steps_to_99` above the steps of a run says only\n"
        "that 99 % was never reached.",
        _row("`peak_bytes`", "≤", "512 ms", "every seed"),
        _row("`peak_bytes`", "≤", "512 MiB", "every seed"),
    ),
    "P010": _told(
        "The module is not on the shelf, or its file cannot be read. A file `modules/NAME.py` with the decorator\n"
        '`@module("NAME", ...)` puts it there; `orchestrate modules` lists all of them.',
        "- **module**: `retnett`",
        "- **module**: `retnet`",
    ),
    "P011": _told(
        "The benchmark is not on the shelf. Its name ends in a version: numbers of `-v1` and `-v2` are not compared.",
        "- **benchmark**: `mqar-64x4`",
        "- **benchmark**: `mqar-64x4-v1`",
    ),
    "P012": _told(
        "A task is named in `needs`, in a threshold or behind `vs`, and the plan has no task with that id.",
        "- **needs**: `atention-copy`",
        "- **needs**: `attention-copy`",
    ),
    "P013": _told(
        "A task starts when the tasks it needs have their verdicts, so tasks that need each other would never start.",
        "## a: first\n- **needs**: `b`\n\n## b: second\n- **needs**: `a`",
        "## a: first\n\n## b: second\n- **needs**: `a`",
    ),
    "P014": _told(
        "The value of a setting is not understood. A budget is counted in s, min, h, steps or runs, seeds are a number\n"
        "(`5`) or a first and a largest number (`3, up to 8`), a gate is `on` or `off`, a priority is a whole number.\n"
        "Or the task's benchmark has no use for it: a limit of steps where nothing is trained, `data` where none is read,\n"
        "another module than the one whose kernel is timed, a gate or ways to improve for what is no architecture; or nothing\n"
        "is tried that `trials` or `search` could steer.",
        "- **budget**: twenty minutes\n- **seeds**: five",
        "- **budget**: 20 min, 400 steps\n- **seeds**: 5",
    ),
    "P015": _told(
        "A heading of the second level begins a task: an id of lower-case letters, digits and `-`, a colon, a title.\n"
        "Headings of the third level and below are prose.",
        "## RetNet recalls as well as attention",
        "## retnet-copy: RetNet recalls as well as attention",
    ),
    "P016": _told(
        "The id of a task is its name in the ledger, in reports and in `needs`; two tasks cannot share one.",
        "## copy: with attention\n...\n## copy: with retention\n...",
        "## copy-attention: with attention\n...\n## copy-retnet: with retention\n...",
    ),
    "P017": _told(
        "A task names what is built (module), how it is measured (benchmark) and what must hold (a table of targets);\n"
        "and where the benchmark measures on a text of yours, that text (data).\n"
        "Module and benchmark may also stand above the first task, for all tasks.",
        "## dense-recall: attention sets the bar\n\n- **module**: `transformer`",
        _PLAN.partition("\n\n")[2],
    ),
    "P018": _told(
        "A plan has one title. Tasks are headings of the second level; headings inside prose of the third.",
        "# Plan: recall\n...\n# Second part\n...",
        "# Plan: recall\n...\n### Second part\n...",
    ),
    "P019": _told(
        "A table of targets has exactly these four columns, the second without a title. Any other table is prose,\n"
        "but this one has so much of a target table that it was probably meant as one.",
        "| metric     | threshold | rule       |\n| ---------- | --------: | ---------- |\n| `accuracy` |      0.99 | every seed |",
        _TABLE + _ROW,
    ),
    "P020": _told(
        "A target table needs rows, and each row four cells. Markdown fills missing cells with nothing and drops extra\n"
        "ones without a word; prose right below a table becomes a row of it.",
        _TABLE + "| `accuracy` | ≥  |      0.99 | every seed | median |",
        _TABLE + _ROW,
    ),
    "P021": _told(
        "These lines look like a table, but without a row of dashes of the same width below the header, or without an\n"
        "empty line above it, Markdown takes them for prose and the targets would be lost.",
        "| metric | | threshold | rule |\n| `accuracy` | ≥ | 0.99 | every seed |",
        _TABLE + _ROW,
    ),
    "P022": _told(
        "A fence, comment or piece of HTML that is not closed swallows everything below it, tasks included.",
        "```toml config\nheads = 4\n\n## next-task: this heading is lost",
        "```toml config\nheads = 4\n```\n\n## next-task: this heading is a task",
    ),
    "P023": _told(
        "A setting, or the config, is given twice in one task, and it would be arbitrary which of them counts.",
        "- **seeds**: 5\n- **seeds**: 8",
        "- **seeds**: 5, up to 8",
    ),
    "P024": _told(
        "Two targets of one task ask the same of the same metric, or ask what no number can give.\n"
        "(A fixed threshold and one that another task sets are two questions.)",
        _row("`accuracy`", "≥", "0.99", "mean") + "\n" + _row("`accuracy`", "≤", "0.90", "mean"),
        _row("`accuracy`", "≥", "0.90", "mean") + "\n" + _row("`accuracy`", "≤", "0.99", "mean"),
    ),
    "P025": _told(
        "A lower bound shows that a metric is large enough (≥, >), an upper bound that it is small enough (≤, <).\n"
        "A bound on the other side would pass whenever there is little data.",
        _row("`val_bpb`", "≤", "1.10 bpb", "lower 95%"),
        _row("`val_bpb`", "≤", "1.10 bpb", "upper 95%"),
    ),
    "P026": _told(
        "A bound or a paired test says how sure it is from the spread between seeds; below three there is none to speak of.",
        "- **seeds**: 2\n\n" + _row("`accuracy`", "≥", "0.99", "lower 95%"),
        "- **seeds**: 3, up to 8\n\n" + _row("`accuracy`", "≥", "0.99", "lower 95%"),
    ),
    "P027": _told(
        "`anytime` bets against the metric being on the wrong side, which is only fair when it lies between 0 and 1,\n"
        "and against a threshold that lies there too.",
        _row("`val_bpb`", "≤", "1.10 bpb", "anytime 95%"),
        _row("`accuracy`", "≥", "99%", "anytime 95%"),
    ),
    "P028": _told(
        "A task that is compared with another one has to need it, so that the other one's numbers are there in time.",
        "## retnet-copy: as good as attention\n\n" + _row("`accuracy`", "≥", "0.98 x attention-copy", "lower 95%"),
        "## retnet-copy: as good as attention\n\n- **needs**: `attention-copy`\n\n"
        + _row("`accuracy`", "≥", "0.98 x attention-copy", "lower 95%"),
    ),
    "P029": _told(
        "A config is TOML: one `key = value` a line, text in quotes, tables in brackets.",
        "```toml config\nrouter = switch\n```",
        '```toml config\nrouter = "switch"\n```',
    ),
    "P030": _told(
        "Keys of the config are fields of the module's `Config`; those under `[decoder]` belong to the language model\n"
        "around it and those under `[recipe]` to its training.",
        "```toml config\nhaeds = 4\nlr = 3e-4\n```",
        "```toml config\nheads = 4\n\n[recipe]\nlr = 3e-4\n```",
    ),
    "P031": _told(
        "A config value has another type than the field it overrides, or is out of its range; fields, types and ranges stand in\n"
        "the module's file.",
        '```toml config\nheads = "4"\n```',
        "```toml config\nheads = 4\n```",
    ),
    "P032": _told(
        "Something is where it is not read as a part of the plan: a table or config above the first task or inside a\n"
        "list item, `needs` for all tasks, a fence marked `toml` but not `toml config`, a quoted heading, an indented config.",
        "- a list item\n\n  ```toml config\n  heads = 4\n  ```",
        "- a list item\n\n```toml config\nheads = 4\n```",
    ),
}
