"""The faces of a scoreboard: terminal, Markdown, JSON, HTML. Each is a pure function of it."""
