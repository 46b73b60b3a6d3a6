"""Tree-sitter queries that find references, members and documentation, by grammar.

Their captures are:

- `bare`: a name that may be a local variable; `use`: a name that may not, of which some are also `bare`;
- `call` or `inherit`: a name that is also one of these, with its kind;
- `local`: a parameter or local variable, whose `bare` uses in the definition around it are no references;
- `global`: a name that is not local in spite of that; `dollar`: a variable, which is local in every definition,
  unless it is also `static`;
- `text`: a node in which all words are names, such as the body of a macro;
- `imports`, `inherits`: nodes in which every `use` is of that kind, except inside a node of `plain`;
- `comment`, `leading`: nodes that belong to the definition in the next row;
- `doc`: a string that documents the definition around it;
- `field.name` in `field`, and so on: a definition of that kind. These members are facts only: they are too many to be
  symbols of chunks. If such a definition is directly in a function it is a local variable, which is not recorded.

A string is no reference, even in a list of exported names; interpolated code and annotations in quotes are.
"""

from agent_brain_server.types import ReferenceKind

JAVASCRIPT = """
(identifier) @bare
[(property_identifier) (private_property_identifier) (shorthand_property_identifier)
 (shorthand_property_identifier_pattern)] @use
(call_expression function: [(identifier) @call (member_expression property: (_) @call)])
(new_expression constructor: [(identifier) @call (member_expression property: (_) @call)])
(decorator [(identifier) @call (member_expression property: (_) @call)])
(import_statement) @imports
(export_statement source: (_)) @imports
(class_heritage) @inherits
(comment) @comment
(decorator) @leading
(program [(lexical_declaration (variable_declarator name: (identifier) @variable.name) @variable)
          (variable_declaration (variable_declarator name: (identifier) @variable.name) @variable)
          (export_statement (lexical_declaration (variable_declarator name: (identifier) @variable.name) @variable))
          (export_statement (variable_declaration (variable_declarator name: (identifier) @variable.name) @variable))])
(program [(lexical_declaration (variable_declarator name: (array_pattern (identifier) @variable.name) @variable))
          (lexical_declaration (variable_declarator name: (object_pattern [
              (shorthand_property_identifier_pattern) @variable.name
              (pair_pattern value: (identifier) @variable.name)]) @variable))])
(function_expression name: (identifier) @function.name) @function
(variable_declarator value: (object (pair key: (property_identifier) @property.name) @property))
(assignment_expression right: (object (pair key: (property_identifier) @property.name) @property))
(export_statement value: (object (pair key: (property_identifier) @property.name) @property))
(arrow_function parameter: (identifier) @local)
(rest_pattern (identifier) @local)
(array_pattern (identifier) @local)
(shorthand_property_identifier_pattern) @local
(object_pattern (pair_pattern value: (identifier) @local))
(variable_declarator name: (identifier) @local)
(subscript_expression index: (string (string_fragment) @use))
(for_in_statement left: (identifier) @local)
(catch_clause parameter: (identifier) @local)
"""

JSX = """
(jsx_opening_element name: [(identifier) @call (member_expression property: (_) @call)])
(jsx_self_closing_element name: [(identifier) @call (member_expression property: (_) @call)])
"""

TYPESCRIPT = """
(lookup_type (literal_type (string (string_fragment) @use)))
(program (ambient_declaration [
    (lexical_declaration (variable_declarator name: (identifier) @variable.name) @variable)
    (variable_declaration (variable_declarator name: (identifier) @variable.name) @variable)]))
(type_identifier) @use
[(extends_clause) (implements_clause) (extends_type_clause)] @inherits
(type_arguments) @plain
(public_field_definition name: (_) @field.name) @field
(property_signature name: (_) @property.name) @property
(enum_body name: (_) @enumerator.name)
(enum_assignment name: (_) @enumerator.name) @enumerator
(required_parameter (accessibility_modifier) pattern: (identifier) @promoted.name) @promoted
(optional_parameter (accessibility_modifier) pattern: (identifier) @promoted.name) @promoted
(required_parameter pattern: (identifier) @local)
(optional_parameter pattern: (identifier) @local)
"""

C = """
(identifier) @bare
[(field_identifier) (type_identifier)] @use
(call_expression function: [(identifier) @call (field_expression field: (_) @call)])
(preproc_arg) @text
(comment) @comment
(field_declaration declarator: (field_identifier) @field.name) @field
(field_declaration declarator: (_ declarator: (field_identifier) @field.name)) @field
(field_declaration declarator: (_ declarator: (_ declarator: (field_identifier) @field.name))) @field
(field_declaration declarator: (function_declarator declarator: (parenthesized_declarator
  (pointer_declarator declarator: (field_identifier) @field.name)))) @field
(field_declaration declarator: (_ declarator: (function_declarator declarator: (parenthesized_declarator
  (pointer_declarator declarator: (field_identifier) @field.name))))) @field
(enumerator name: (_) @enumerator.name) @enumerator
(declaration declarator: (identifier) @variable.name) @variable
(declaration declarator: (_ declarator: (identifier) @variable.name)) @variable
(declaration declarator: (_ declarator: (_ declarator: (identifier) @variable.name))) @variable
(declaration declarator: (_ declarator: (_ declarator: (_ declarator: (identifier) @variable.name)))) @variable
(type_definition declarator: (pointer_declarator declarator: (type_identifier) @typedef.name)) @typedef
(type_definition declarator: (array_declarator declarator: (type_identifier) @typedef.name)) @typedef
(type_definition declarator: (function_declarator declarator: (parenthesized_declarator
  (pointer_declarator declarator: (type_identifier) @typedef.name)))) @typedef
(type_definition declarator: (function_declarator declarator: (type_identifier) @typedef.name)) @typedef
(preproc_def name: (_) @macro.name) @macro
(parameter_declaration declarator: (identifier) @local)
(parameter_declaration declarator: (_ declarator: (identifier) @local))
(parameter_declaration declarator: (_ declarator: (_ declarator: (identifier) @local)))
"""

CPP = """
[(namespace_identifier) (destructor_name) (operator_name)] @use
(call_expression function: (qualified_identifier name: [
    (identifier) @call
    (template_function name: (identifier) @call)
    (qualified_identifier name: [
        (identifier) @call
        (template_function name: (identifier) @call)
        (qualified_identifier name: [(identifier) @call (template_function name: (identifier) @call)])])]))
(call_expression function: (template_function name: (identifier) @call))
(call_expression function: (field_expression field: (template_method name: (_) @call)))
(new_expression type: [(type_identifier) @call (qualified_identifier name: (type_identifier) @call)
  (template_type name: (_) @call)])
(compound_literal_expression type: (type_identifier) @call)
[(using_declaration) (namespace_alias_definition)] @imports
(base_class_clause) @inherits
(template_argument_list) @plain
(template_declaration ["template" (template_parameter_list)] @leading)
(qualified_identifier name: (identifier) @use)
(field_declaration declarator: (reference_declarator (field_identifier) @field.name)) @field
(declaration declarator: (reference_declarator (identifier) @variable.name)) @variable
(namespace_alias_definition name: (_) @namespace.name) @namespace
(parameter_declaration declarator: (reference_declarator (identifier) @local))
(optional_parameter_declaration declarator: (identifier) @local)
(optional_parameter_declaration declarator: (_ (identifier) @local))
(for_range_loop declarator: [(identifier) @local (_ (identifier) @local)])
"""

REFERENCE_QUERIES: dict[str, str] = {
    "c": C,
    "cpp": C + CPP,
    "csharp": """
(identifier) @bare
(invocation_expression function: [
    (identifier) @call
    (generic_name (identifier) @call)
    (member_access_expression name: [(identifier) @call (generic_name (identifier) @call)])
    (conditional_access_expression (member_binding_expression name: [
        (identifier) @call
        (generic_name (identifier) @call)]))])
(object_creation_expression type: [
    (identifier) @call
    (generic_name (identifier) @call)
    (qualified_name name: [(identifier) @call (generic_name (identifier) @call)])])
(attribute name: [(identifier) @call (qualified_name name: (identifier) @call)])
(using_directive) @imports
(base_list) @inherits
[(type_argument_list) (argument_list)] @plain
(comment) @comment
(attribute_list) @leading
(field_declaration (variable_declaration (variable_declarator name: (_) @field.name))) @field
(event_field_declaration (variable_declaration (variable_declarator name: (_) @event.name))) @event
(event_declaration name: (_) @event.name) @event
(enum_member_declaration name: (_) @enumerator.name) @enumerator
(destructor_declaration name: (_) @method.name) @method
(file_scoped_namespace_declaration name: (_) @namespace.name)
(member_access_expression name: [(identifier) @use (generic_name (identifier) @use)])
(member_binding_expression name: [(identifier) @use (generic_name (identifier) @use)])
(qualified_name name: (identifier) @use)
(initializer_expression (assignment_expression left: (identifier) @use))
(argument name: (identifier) @use)
(parameter name: (identifier) @local)
(lambda_expression parameters: (_) @local)
(local_declaration_statement (variable_declaration (variable_declarator name: (identifier) @local)))
(foreach_statement left: (identifier) @local)
(catch_declaration name: (identifier) @local)
(declaration_expression name: (identifier) @local)
(declaration_pattern name: (identifier) @local)
(using_statement (variable_declaration (variable_declarator name: (identifier) @local)))
(for_statement (variable_declaration (variable_declarator name: (identifier) @local)))
""",
    "elixir": """
(identifier) @use
(alias) @text
(call target: [(identifier) @call (dot right: (identifier) @call)])
(binary_operator operator: "|>" right: (identifier) @call)
(unary_operator operator: "&" operand: (binary_operator left: [
    (identifier) @call
    (call target: (dot right: (identifier) @call))]))
(call target: (identifier) @word (arguments)) @directive
(comment) @comment
(unary_operator operator: "@") @leading
(do_block . (unary_operator operator: "@" operand: (call (arguments (string) @doc))))
(unary_operator operator: "@" operand: (call (arguments (binary_operator left: [
    (identifier) @type.name
    (call target: (identifier) @type.name)
    (binary_operator left: [(identifier) @type.name (call target: (identifier) @type.name)])])))) @type
""",
    "go": """
(identifier) @bare
[(field_identifier) (type_identifier) (package_identifier)] @use
(call_expression function: [
    (identifier) @call
    (selector_expression field: (_) @call)
    (index_expression operand: [(identifier) @call (selector_expression field: (_) @call)])
    (parenthesized_expression [(identifier) @call (selector_expression field: (_) @call)])])
(composite_literal type: [(type_identifier) @call (qualified_type name: (_) @call)
  (generic_type type: [(type_identifier) @call (qualified_type name: (_) @call)])])
(import_declaration) @imports
(field_declaration !name type: [
    (type_identifier) @inherit
    (qualified_type name: (_) @inherit)
    (generic_type type: [(type_identifier) @inherit (qualified_type name: (_) @inherit)])])
(interface_type (type_elem . [(type_identifier) @inherit (qualified_type name: (_) @inherit)] .))
(comment) @comment
(field_declaration name: (_) @field.name) @field
(const_spec name: (_) @const.name) @const
(var_spec name: (_) @var.name) @var
(keyed_element . (literal_element (identifier) @use))
(parameter_declaration name: (identifier) @local)
(variadic_parameter_declaration name: (identifier) @local)
(short_var_declaration left: (expression_list (identifier) @local))
(range_clause left: (expression_list (identifier) @local))
""",
    "haskell": """
(variable) @bare
[(name) (constructor) (module_id) (operator)] @use
(apply function: [(variable) @call (qualified id: (variable) @call) (constructor) @call])
(infix operator: (infix_id (_) @call))
(import) @imports
(instance name: (name) @inherit)
(deriving) @inherits
[(comment) (haddock)] @comment
[(signature) (pragma)] @leading
(data_constructor constructor: (prefix name: (_) @variant.name)) @variant
(data_constructor constructor: (record name: (_) @variant.name)) @variant
(data_constructor constructor: (infix operator: (_) @variant.name)) @variant
(newtype_constructor name: (_) @variant.name) @variant
(gadt_constructor name: (_) @variant.name) @variant
(field name: (field_name (variable) @field.name)) @field
(type_family name: (_) @type.name) @type
(header module: (module (module_id) @module.name .))
(patterns (variable) @local)
(patterns (_ (variable) @local))
(field_name (variable) @use)
(qualified id: (variable) @use)
""",
    "java": """
(identifier) @bare
(type_identifier) @use
(method_invocation name: (_) @use @call)
(object_creation_expression type: [
    (type_identifier) @call
    (scoped_type_identifier (type_identifier) @call .)
    (generic_type [(type_identifier) @call (scoped_type_identifier (type_identifier) @call .)])])
(marker_annotation name: (identifier) @call)
(annotation name: (identifier) @call)
(import_declaration) @imports
[(superclass) (super_interfaces) (extends_interfaces)] @inherits
(type_arguments) @plain
[(line_comment) (block_comment)] @comment
(field_declaration declarator: (variable_declarator name: (_) @field.name)) @field
(enum_constant name: (_) @enumerator.name) @enumerator
(annotation_type_element_declaration name: (_) @method.name) @method
(record_declaration parameters: (formal_parameters (formal_parameter name: (_) @field.name) @field))
(constant_declaration declarator: (variable_declarator name: (_) @field.name)) @field
(field_access field: (identifier) @use)
(scoped_identifier (identifier) @use)
(method_reference (identifier) @use .)
(element_value_pair key: (identifier) @use)
(formal_parameter name: (identifier) @local)
(spread_parameter (variable_declarator name: (identifier) @local))
(local_variable_declaration declarator: (variable_declarator name: (identifier) @local))
(enhanced_for_statement name: (identifier) @local)
(catch_formal_parameter name: (identifier) @local)
(resource name: (identifier) @local)
(lambda_expression parameters: (identifier) @local)
(inferred_parameters (identifier) @local)
""",
    "javascript": JAVASCRIPT
    + JSX
    + """
(formal_parameters [(identifier) @local (assignment_pattern left: (identifier) @local)])
(field_definition property: (_) @field.name) @field
""",
    "kotlin": """
(identifier) @bare
(call_expression . [(identifier) @call (navigation_expression (identifier) @call .)])
(constructor_invocation (user_type (identifier) @call .))
(annotation (user_type (identifier) @call .))
(import) @imports
(delegation_specifier [
    (user_type (identifier) @inherit . (type_arguments)? .)
    (constructor_invocation (user_type (identifier) @inherit . (type_arguments)? .))
    (explicit_delegation . (user_type (identifier) @inherit . (type_arguments)? .))])
[(line_comment) (block_comment)] @comment
(property_declaration (variable_declaration (identifier) @property.name)) @property
(property_declaration (multi_variable_declaration (variable_declaration (identifier) @property.name))) @property
(class_parameter ["val" "var"] (identifier) @property.name) @property
(enum_entry . (modifiers)? . (identifier) @enumerator.name) @enumerator
(navigation_expression (_) (identifier) @use .)
(value_argument . (identifier) @use "=")
(user_type (identifier) @use)
(parameter (identifier) @local)
(lambda_parameters (variable_declaration (identifier) @local))
(for_statement (variable_declaration (identifier) @local))
""",
    "lua": """
(identifier) @bare
(function_call name: [
    (identifier) @call
    (dot_index_expression field: (identifier) @call)
    (method_index_expression method: (identifier) @call)])
(comment) @comment
(assignment_statement (expression_list value: (table_constructor (field name: (identifier) @field.name) @field)))
(return_statement (expression_list (table_constructor (field name: (identifier) @field.name) @field)))
(assignment_statement (variable_list name: [
    (identifier) @variable.name
    (dot_index_expression field: (identifier) @variable.name)])) @variable
(variable_declaration (variable_list name: (identifier) @variable.name)) @variable
(dot_index_expression field: (identifier) @use)
(method_index_expression method: (identifier) @use)
(field name: (identifier) @use)
(parameters name: (identifier) @local)
(for_generic_clause (variable_list name: (identifier) @local))
(for_numeric_clause name: (identifier) @local)
""",
    "php": """
(name) @use
(function_call_expression function: [(name) @call (qualified_name (name) @call)])
(scoped_call_expression name: (name) @call)
(member_call_expression name: (name) @call)
(nullsafe_member_call_expression name: (name) @call)
(object_creation_expression [(name) @call (qualified_name (name) @call)])
(attribute [(name) @call (qualified_name (name) @call)])
(namespace_use_declaration) @imports
[(base_clause) (class_interface_clause)] @inherits
(declaration_list (use_declaration) @inherits)
(comment) @comment
(attribute_list) @leading
(property_element name: (variable_name (name) @property.name)) @property
(property_promotion_parameter name: (variable_name (name) @promoted.name)) @promoted
(enum_case name: (name) @enumerator.name) @enumerator
(program (expression_statement (assignment_expression left: (variable_name (name) @variable.name)) @variable))
(namespace_use_clause alias: (name) @alias.name) @alias
(const_element . (name) @const.name) @const
(namespace_definition name: (_) @namespace.name)
(variable_name (name) @dollar)
(scoped_property_access_expression name: (variable_name (name) @static))
""",
    "python": """
(identifier) @bare
(call function: [(identifier) @call (attribute attribute: (identifier) @call)])
(decorator [(identifier) @call (attribute attribute: (identifier) @call)])
(class_definition superclasses: (argument_list [
    (identifier) @inherit
    (attribute attribute: (identifier) @inherit)
    (subscript value: [(identifier) @inherit (attribute attribute: (identifier) @inherit)])]))
[(import_statement) (import_from_statement) (future_import_statement)] @imports
(type (string (string_content) @text))
(type (generic_type (type_parameter (type (string (string_content) @text)))))
(comment) @comment
(decorator) @leading
(class_definition body: (block . (comment)* . (expression_statement (string) @doc)))
(function_definition body: (block . (comment)* . (expression_statement (string) @doc)))
(expression_statement (assignment left: (identifier) @variable.name)) @variable
(expression_statement (assignment left: (pattern_list (identifier) @variable.name))) @variable
(expression_statement (assignment left: (tuple_pattern (identifier) @variable.name))) @variable
(assignment right: (assignment left: (identifier) @variable.name) @variable)
(attribute attribute: (identifier) @use)
(keyword_argument name: (identifier) @use)
(parameters [
    (identifier) @local
    (default_parameter name: (identifier) @local)
    (typed_parameter . [(identifier) @local (list_splat_pattern (identifier) @local)
      (dictionary_splat_pattern (identifier) @local)])
    (typed_default_parameter name: (identifier) @local)
    (list_splat_pattern (identifier) @local)
    (dictionary_splat_pattern (identifier) @local)])
(lambda_parameters [(identifier) @local (default_parameter name: (identifier) @local)])
(for_statement left: [(identifier) @local (pattern_list (identifier) @local) (tuple_pattern (identifier) @local)])
(for_in_clause left: [(identifier) @local (pattern_list (identifier) @local) (tuple_pattern (identifier) @local)])
(as_pattern_target (identifier) @local)
(named_expression name: (identifier) @local)
[(global_statement (identifier) @global) (nonlocal_statement (identifier) @global)]
""",
    "ruby": """
(identifier) @bare
[(constant) (instance_variable) (class_variable) (global_variable) (simple_symbol) (hash_key_symbol)
 (setter)] @use
(call method: (_) @call)
(superclass) @inherits
(call method: (identifier) @word arguments: (argument_list)) @directive
(comment) @comment
(call method: (identifier) arguments: (argument_list (simple_symbol) @accessor.name)) @accessor
(alias name: (_) @alias.name) @alias
(call method: (identifier) arguments: (argument_list . (simple_symbol) @def.name)) @def
(call receiver: (_) method: (identifier) @use)
(call !receiver method: (identifier) @use arguments: (_))
(method_parameters [
    (identifier) @local
    (optional_parameter name: (identifier) @local)
    (keyword_parameter name: (identifier) @local)
    (splat_parameter name: (identifier) @local)
    (hash_splat_parameter name: (identifier) @local)
    (block_parameter name: (identifier) @local)])
(block_parameters (identifier) @local)
(assignment left: (identifier) @local)
(assignment left: (left_assignment_list (identifier) @local))
""",
    "rust": """
(identifier) @bare
[(type_identifier) (field_identifier) (shorthand_field_identifier)] @use
(call_expression function: [
    (identifier) @call
    (field_expression field: (_) @call)
    (scoped_identifier name: (_) @call)
    (generic_function function: [
        (identifier) @call
        (field_expression field: (_) @call)
        (scoped_identifier name: (_) @call)])])
(macro_invocation macro: [(identifier) @call (scoped_identifier name: (_) @call)])
(struct_expression name: [(type_identifier) @call (scoped_type_identifier name: (_) @call)])
[(use_declaration) (extern_crate_declaration)] @imports
(impl_item trait: [
    (type_identifier) @inherit
    (scoped_type_identifier name: (_) @inherit)
    (generic_type type: [(type_identifier) @inherit (scoped_type_identifier name: (_) @inherit)])])
(trait_item bounds: (trait_bounds [
    (type_identifier) @inherit
    (scoped_type_identifier name: (_) @inherit)
    (generic_type type: [(type_identifier) @inherit (scoped_type_identifier name: (_) @inherit)])]))
[(line_comment) (block_comment)] @comment
(attribute_item) @leading
(field_declaration name: (_) @field.name) @field
(enum_variant name: (_) @enumerator.name) @enumerator
(associated_type name: (_) @type.name) @type
(scoped_identifier name: (identifier) @use)
(parameter pattern: [(identifier) @local (mut_pattern (identifier) @local)])
(parameter pattern: (identifier) @local)
(let_declaration pattern: [(identifier) @local (mut_pattern (identifier) @local)
  (tuple_pattern (identifier) @local)])
(closure_parameters (identifier) @local)
(for_expression pattern: (identifier) @local)
""",
    "scala": """
(identifier) @bare
[(type_identifier) (operator_identifier)] @use
(call_expression function: [
    (identifier) @call
    (field_expression field: (_) @call)
    (generic_function function: [(identifier) @call (field_expression field: (_) @call)])])
(infix_expression operator: (_) @call)
(instance_expression [
    (type_identifier) @call
    (generic_type type: (_) @call)
    (stable_type_identifier (type_identifier) @call)])
(annotation name: (_) @call)
(import_declaration) @imports
(extends_clause) @inherits
[(type_arguments) (arguments)] @plain
[(comment) (block_comment)] @comment
(annotation) @leading
(val_definition pattern: (identifier) @val.name) @val
(val_declaration name: (identifier) @val.name) @val
(var_definition pattern: (identifier) @var.name) @var
(var_declaration name: (identifier) @var.name) @var
(class_parameter name: (identifier) @val.name) @val
(simple_enum_case name: (_) @enumerator.name) @enumerator
(full_enum_case name: (_) @enumerator.name) @enumerator
(field_expression field: (identifier) @use)
(parameter name: (identifier) @local)
(bindings (binding name: (identifier) @local))
(lambda_expression parameters: (identifier) @local)
""",
    "shell": """
(variable_name) @use
(command name: (command_name (word) @use @call))
(comment) @comment
(variable_assignment name: (variable_name) @variable.name) @variable
(command name: (command_name (word)) argument: [(concatenation . (word) @alias.name) (word) @alias.name]) @alias
""",
    "swift": """
(simple_identifier) @bare
(type_identifier) @use
(call_expression . [
    (simple_identifier) @call
    (navigation_expression suffix: (navigation_suffix suffix: (simple_identifier) @call))])
(import_declaration) @imports
(inheritance_specifier) @inherits
(type_arguments) @plain
[(comment) (multiline_comment)] @comment
(attribute (user_type (type_identifier) @call))
(property_declaration name: (pattern bound_identifier: (simple_identifier) @property.name)) @property
(protocol_property_declaration name: (pattern (simple_identifier) @property.name)) @property
(enum_entry name: (simple_identifier) @enumerator.name) @enumerator
(associatedtype_declaration name: (_) @type.name) @type
(init_declaration "init" @init.name) @init
(navigation_suffix suffix: (simple_identifier) @use)
(value_argument_label (simple_identifier) @use)
(parameter name: (simple_identifier) @local)
(lambda_parameter name: (simple_identifier) @local)
""",
    "tsx": JAVASCRIPT + TYPESCRIPT + JSX,
    "typescript": JAVASCRIPT + TYPESCRIPT,
    "zig": """
(identifier) @bare
(call_expression function: [(identifier) @call (field_expression member: (_) @call)])
(comment) @comment
(container_field name: (_) @field.name) @field
(error_set_declaration (identifier) @enumerator.name)
(variable_declaration . (identifier) @const.name) @const
(field_expression member: (identifier) @use)
(parameter name: (identifier) @local)
(payload (identifier) @local)
""",
}
"""Name of a grammar to its query."""

NO_IMPORT = r"(?![^\n;]*=\s*(await\s+)?@?(require|import)\b)"

MEMBER_CONDITIONS: dict[str, dict[str, str]] = {
    "elixir": {"type": r"@(type|typep|opaque|callback|macrocallback)\b"},
    "javascript": {"variable": NO_IMPORT},
    "lua": {"variable": NO_IMPORT},
    "ruby": {
        "accessor": r"(attr|attr_reader|attr_writer|attr_accessor|[mc]attr_(reader|writer|accessor))\b",
        "def": r"define_method\b",
    },
    "shell": {"alias": r"alias\s+\w[^\s=]*="},
    "tsx": {"variable": NO_IMPORT},
    "typescript": {"variable": NO_IMPORT},
    "zig": {"const": NO_IMPORT},
}
"""Grammar and kind of member to a regular expression that its text begins with."""

DIRECTIVES: dict[str, dict[ReferenceKind, str]] = {
    "elixir": {"import": r"(alias|import|require|use)\b"},
    "ruby": {"inherit": r"(include|extend|prepend)\b", "import": r"(require|require_relative|autoload)\b"},
}
"""Grammar and kind of reference to the words that begin a `directive`, in which all names are of that kind."""
