import pytest

from agent_brain_server.search.qualified_name import QualifiedName, ends_path, parse_qualified_name


@pytest.mark.parametrize(
    ("query", "name", "qualifier"),
    [
        ("send", "send", ()),
        (" Client.send ", "send", ("Client",)),
        ("Acme::Response", "Response", ("Acme",)),
        ("Net::HTTP#get", "get", ("Net", "HTTP")),
        ("client->send", "send", ("client",)),
        ("http/client", "client", ("http",)),
        (r"App\Http\Kernel", "Kernel", ("App", "Http")),
        ("M:open", "open", ("M",)),
        ("self.close()", "close", ()),
        ("render(name)", "render", ()),
        ("render(name, value)", None, None),
        ("Vec<T>::push", "push", ("Vec",)),
        ("@app.route", "route", ("app",)),
        ("valid?", "valid?", ()),
        ("flat-map", "flat-map", ()),
        ("::Global", "Global", ()),
        ("where is it sent", None, None),
        ("", None, None),
        ("->", None, None),
        ("...", None, None),
        ("x" * 201, None, None),
    ],
)
def test_parse_qualified_name(query, name, qualifier):
    expected = None if qualifier is None else QualifiedName(name, qualifier)
    assert parse_qualified_name(query) == expected


@pytest.mark.parametrize(
    ("path", "qualifier", "matches"),
    [
        ("src/http/client.py", ("http", "client"), True),
        ("src/http/client.go", ("HTTP",), True),
        ("src/http/client.py", ("client",), True),
        ("src/http/client.py", ("src",), False),
        ("client.py", ("http", "client"), False),
    ],
)
def test_ends_path(path, qualifier, matches):
    assert ends_path(path, qualifier) is matches
