"""Tree-sitter queries that find references and documentation, by grammar.

Captures of names are `use`, or `call` or `inherit` for a node that is also a `use`, or `skip` for one that is none.
Others are statements whose names are all imported (`imports`), nodes that belong to the definition in the next row
(`leading`), comments, and strings that document the definition around them (`doc`).
"""

REFERENCE_QUERIES: dict[str, str] = {
    "python": """
(identifier) @use
(keyword_argument name: (identifier) @skip)
(call function: [(identifier) @call (attribute attribute: (identifier) @call)])
(decorator [(identifier) @call (attribute attribute: (identifier) @call)])
(class_definition superclasses: (argument_list [
    (identifier) @inherit
    (attribute attribute: (identifier) @inherit)
    (subscript value: [(identifier) @inherit (attribute attribute: (identifier) @inherit)])]))
[(import_statement) (import_from_statement) (future_import_statement)] @imports
(comment) @comment
(decorator) @leading
[(class_definition body: (block . (comment)* . (expression_statement (string) @doc)))
 (function_definition body: (block . (comment)* . (expression_statement (string) @doc)))]
""",
}
"""Name of a grammar to its query."""
