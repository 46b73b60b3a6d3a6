"""Tree-sitter queries that find definitions, one pattern per line, by grammar.

In each pattern `@name` captures the name; the other capture is the whole definition, and its own name is the kind
shown in headings (`class Client`). If two patterns match the same name, the earlier one applies. Captures that begin
with an underscore are tested against the pattern's `has` or `lacks` setting, a regular expression. Tree-sitter's
predicates cannot be used: they read the text of nodes, which is not available in a tree parsed from a callback.
"""

JAVASCRIPT = """
(class_declaration name: (_) @name) @class
(class name: (_) @name) @class
(function_declaration name: (_) @name) @function
(generator_function_declaration name: (_) @name) @function
(method_definition name: (_) @name) @method
(variable_declarator name: (identifier) @name value: [(arrow_function) (function_expression)]) @function
(variable_declarator name: (identifier) @name value: (class)) @class
(assignment_expression left: [(identifier) @name (member_expression property: (_) @name)]
  right: [(arrow_function) (function_expression) (class)]) @function
(pair key: (property_identifier) @name value: [(arrow_function) (function_expression)]) @function
((program (lexical_declaration (variable_declarator name: (identifier) @name value: (_) @_value) @const))
  (#set! lacks "^(await )?(require|import)[ (]"))
((program (variable_declaration (variable_declarator name: (identifier) @name value: (_) @_value) @var))
  (#set! lacks "^require[ (]"))
(program (export_statement declaration: (lexical_declaration (variable_declarator name: (identifier) @name) @const)))
"""

TYPESCRIPT = """
(abstract_class_declaration name: (_) @name) @class
(interface_declaration name: (_) @name) @interface
(type_alias_declaration name: (_) @name) @type
(enum_declaration name: (_) @name) @enum
(internal_module name: (_) @name) @module
(module name: (_) @name) @module
(function_signature name: (_) @name) @function
(method_signature name: (_) @name) @method
(abstract_method_signature name: (_) @name) @method
(public_field_definition name: (_) @name value: (arrow_function)) @method
"""

C = """
(function_definition declarator: (function_declarator declarator: (_) @name)) @function
(function_definition declarator: (_ declarator: (function_declarator declarator: (_) @name))) @function
(function_definition declarator: (_ declarator: (_ declarator: (function_declarator declarator: (_) @name)))) @function
(declaration declarator: (function_declarator declarator: (identifier) @name)) @function
(declaration declarator: (_ declarator: (function_declarator declarator: (identifier) @name))) @function
(struct_specifier name: (_) @name body: (_)) @struct
(union_specifier name: (_) @name body: (_)) @union
(enum_specifier name: (_) @name body: (_)) @enum
(type_definition declarator: (type_identifier) @name) @type
(preproc_def name: (_) @name value: (_)) @macro
(preproc_function_def name: (_) @name) @macro
(translation_unit (declaration declarator: (init_declarator declarator: (identifier) @name)) @constant)
"""

CPP = """
(namespace_definition name: (_) @name) @namespace
(class_specifier name: (_) @name body: (_)) @class
(function_definition declarator: (reference_declarator (function_declarator declarator: (_) @name))) @function
(field_declaration declarator: (function_declarator declarator: (_) @name)) @function
(field_declaration declarator: (_ declarator: (function_declarator declarator: (_) @name))) @function
(declaration declarator: (function_declarator declarator: (destructor_name) @name)) @function
(alias_declaration name: (_) @name) @type
(concept_definition name: (_) @name) @concept
(declaration_list (declaration declarator: (init_declarator declarator: (identifier) @name)) @constant)
"""

DEFINITION_QUERIES: dict[str, str] = {
    "c": C,
    "cpp": C + CPP,
    "csharp": """
(namespace_declaration name: (_) @name) @namespace
(class_declaration name: (_) @name) @class
(interface_declaration name: (_) @name) @interface
(struct_declaration name: (_) @name) @struct
(record_declaration name: (_) @name) @record
(enum_declaration name: (_) @name) @enum
(delegate_declaration name: (_) @name) @delegate
(method_declaration name: (_) @name) @method
(constructor_declaration name: (_) @name) @constructor
(property_declaration name: (_) @name) @property
(local_function_statement name: (_) @name) @function
((field_declaration (modifier) @_modifier (variable_declaration (variable_declarator name: (_) @name))) @constant
  (#set! has "^(const|readonly)$"))
""",
    "elixir": """
((call target: (identifier) @_word (arguments . (alias) @name)) @module
  (#set! has "^(defmodule|defprotocol)$"))
((call target: (identifier) @_word (arguments . (alias) @name)) @instance (#set! has "^defimpl$"))
((call target: (identifier) @_word (arguments . [
    (identifier) @name
    (call target: (identifier) @name)
    (binary_operator left: [(identifier) @name (call target: (identifier) @name)])])) @def
  (#set! has "^(def|defp|defmacro|defmacrop|defguard|defguardp|defdelegate)$"))
""",
    "go": """
(function_declaration name: (_) @name) @func
(method_declaration name: (_) @name) @func
(method_elem name: (_) @name) @func
(type_spec name: (_) @name) @type
(type_alias name: (_) @name) @type
(source_file (const_declaration (const_spec name: (_) @name) @const))
(source_file (var_declaration (var_spec name: (_) @name) @var))
(source_file (var_declaration (var_spec_list (var_spec name: (_) @name) @var)))
""",
    "haskell": """
(data_type name: (_) @name) @data
(newtype name: (_) @name) @newtype
(type_synonym name: (_) @name) @type
(class name: (_) @name) @class
(instance name: (_) @name) @instance
(declarations (signature name: (variable) @name) @function)
(declarations (function name: (variable) @name) @function)
(declarations (bind name: (variable) @name) @function)
(class_declarations (signature name: (variable) @name) @function)
""",
    "java": """
(class_declaration name: (_) @name) @class
(interface_declaration name: (_) @name) @interface
(enum_declaration name: (_) @name) @enum
(record_declaration name: (_) @name) @record
(annotation_type_declaration name: (_) @name) @annotation
(method_declaration name: (_) @name) @method
(constructor_declaration name: (_) @name) @constructor
(compact_constructor_declaration name: (_) @name) @constructor
((field_declaration (modifiers) @_modifiers declarator: (variable_declarator name: (_) @name)) @constant
  (#set! has "static final|final static"))
(interface_body (constant_declaration declarator: (variable_declarator name: (_) @name)) @constant)
""",
    "javascript": JAVASCRIPT
    + """
(field_definition property: (_) @name value: (arrow_function)) @method
""",
    "kotlin": """
(class_declaration "interface" name: (_) @name) @interface
((class_declaration (modifiers) @_modifiers name: (_) @name) @enum (#set! has "enum"))
(class_declaration name: (_) @name) @class
(object_declaration name: (_) @name) @object
(companion_object name: (_) @name) @object
(function_declaration name: (_) @name) @fun
(type_alias type: (identifier) @name) @typealias
(source_file (property_declaration (variable_declaration (identifier) @name)) @val)
((property_declaration (modifiers) @_modifiers (variable_declaration (identifier) @name)) @val
  (#set! has "const"))
""",
    "lua": """
(function_declaration name: [
    (identifier) @name
    (dot_index_expression field: (identifier) @name)
    (method_index_expression method: (identifier) @name)]) @function
(assignment_statement (variable_list name: [(identifier) @name (dot_index_expression field: (identifier) @name)])
  (expression_list value: (function_definition))) @function
(field name: (identifier) @name value: (function_definition)) @function
((chunk (variable_declaration (assignment_statement (variable_list name: (identifier) @name)
  (expression_list value: (_) @_value)) @local)) (#set! lacks "^require"))
""",
    "php": """
(namespace_definition name: (_) @name body: (_)) @namespace
(class_declaration name: (_) @name) @class
(interface_declaration name: (_) @name) @interface
(trait_declaration name: (_) @name) @trait
(enum_declaration name: (_) @name) @enum
(function_definition name: (_) @name) @function
(method_declaration name: (_) @name) @function
(const_declaration (const_element . (name) @name)) @const
""",
    "python": """
(class_definition name: (_) @name) @class
(function_definition name: (_) @name) @def
(module (expression_statement (assignment left: (identifier) @name)) @constant)
(type_alias_statement left: (type (identifier) @name)) @type
""",
    "ruby": """
(class name: (_) @name) @class
(module name: (_) @name) @module
(method name: (_) @name) @def
(singleton_method name: (_) @name) @def
(assignment left: (constant) @name) @constant
""",
    "rust": """
(struct_item name: (_) @name) @struct
(enum_item name: (_) @name) @enum
(union_item name: (_) @name) @union
(trait_item name: (_) @name) @trait
(impl_item type: (_) @name) @impl
(mod_item name: (_) @name) @mod
(function_item name: (_) @name) @fn
(function_signature_item name: (_) @name) @fn
(macro_definition name: (_) @name) @macro
(type_item name: (_) @name) @type
(const_item name: (_) @name) @const
(static_item name: (_) @name) @static
""",
    "scala": """
(class_definition name: (_) @name) @class
(object_definition name: (_) @name) @object
(package_object name: (_) @name) @object
(trait_definition name: (_) @name) @trait
(enum_definition name: (_) @name) @enum
(function_definition name: (_) @name) @def
(function_declaration name: (_) @name) @def
(type_definition name: (_) @name) @type
(given_definition name: (_) @name) @given
(compilation_unit (val_definition pattern: (identifier) @name) @val)
(template_body (val_definition pattern: (identifier) @name) @val)
""",
    "shell": """
(function_definition name: (_) @name) @function
(program (variable_assignment name: (variable_name) @name) @variable)
(program (declaration_command (variable_assignment name: (variable_name) @name)) @variable)
""",
    "swift": """
(class_declaration declaration_kind: "struct" name: (_) @name) @struct
(class_declaration declaration_kind: "enum" name: (_) @name) @enum
(class_declaration declaration_kind: "extension" name: (_) @name) @extension
(class_declaration declaration_kind: "actor" name: (_) @name) @actor
(class_declaration name: (_) @name) @class
(protocol_declaration name: (_) @name) @protocol
(function_declaration name: (simple_identifier) @name) @func
(protocol_function_declaration name: (simple_identifier) @name) @func
(typealias_declaration name: (type_identifier) @name) @typealias
(source_file (property_declaration name: (pattern (simple_identifier) @name)) @let)
""",
    "tsx": JAVASCRIPT + TYPESCRIPT,
    "typescript": JAVASCRIPT + TYPESCRIPT,
    "zig": """
(function_declaration name: (_) @name) @fn
(test_declaration (string) @name) @test
(variable_declaration . (identifier) @name (struct_declaration)) @struct
(variable_declaration . (identifier) @name (union_declaration)) @union
(variable_declaration . (identifier) @name (enum_declaration)) @enum
((source_file (variable_declaration . (identifier) @name (_) @_value .) @const)
  (#set! lacks "^@import"))
""",
}
"""Name of a grammar, as in `syntax.GRAMMARS`, to its query."""
