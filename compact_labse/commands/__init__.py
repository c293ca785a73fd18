"""One module per subcommand of `compact-labse`.

A command defines `add_arguments(parser)` and `run(args) -> int`; it sets `parser.epilog` to an example that can be
pasted. A command that parses for itself defines `main(argv) -> int` instead. Modules here stay cheap to import: heavy
libraries are imported inside `run`, so that `--help` answers at once.
"""
