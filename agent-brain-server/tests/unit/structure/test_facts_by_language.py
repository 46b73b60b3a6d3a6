"""Definitions and references in every language, on small samples."""

import pytest

from agent_brain_server.indexing.files.file_types import detect_language
from agent_brain_server.structure.facts import extract_facts
from agent_brain_server.structure.reference_queries import REFERENCE_QUERIES
from agent_brain_server.structure.syntax import GRAMMARS, find_definitions, grammar_name, parse

# ruff: noqa: E501 - source texts

SAMPLES: dict[str, tuple[str, str, str]] = {
    "a.c": (
        "#define LIMIT(x) check(x)\nenum state { OPEN };\nstruct client { char *host; };\nstatic int port = 1;\n"
        "int send(struct client *c) { int local = port; return connect(c->host, local); }\n",
        "LIMIT state state.OPEN client client.host port send",
        "call:connect use:check use:client use:port use:host",
    ),
    "a.cpp": (
        "#pragma once\nLIB_NAMESPACE_BEGIN\nnamespace net {\nclass Client : public Base<Option> {\n  int port_ = 1;\n  void send();\n};\n"
        "void Client::send() { other_->run(net::make<Task>()); new Job(); }\n}\n",
        "net net.Client net.Client.port_ net.Client.send net.Client.send",
        "inherit:Base use:Option call:run call:make call:Job use:Client use:other_",
    ),
    "a.cs": (
        "using System.Text;\nclass Client : Base<Option>, ISender {\n  int port;\n  void Send(Data data) {\n"
        "    this.port = Make(data);\n    new Job { Name = port };\n  }\n}\nenum State { Open }\n",
        "Client Client.port Client.Send State State.Open",
        "import:Text inherit:Base inherit:ISender use:Option use:Data call:Make call:Job use:port use:Name",
    ),
    "a.ex": (
        "defmodule Net.Client do\n  use Net.Base\n  alias Net.Other\n  @type t :: binary\n"
        "  def send(data), do: data |> encode() |> Other.run()\nend\n",
        "Net.Client Net.Client.t Net.Client.send",
        "import:Base import:Other call:encode call:run",
    ),
    "a.go": (
        "package a\n\ntype Client struct {\n\tBase\n\thost string\n}\n\nfunc (c *Client) Send(data []byte) error {\n"
        "\tlocal := Make(data)\n\treturn c.run(local, &Job{host: other})\n}\n",
        "Client Client.host Client.Send",
        "inherit:Base call:Make call:run call:Job use:host use:other use:Client",
    ),
    "a.hs": (
        "module Net where\nimport Data.Text (pack)\ndata Client = Client { host :: String } deriving (Show)\n"
        "instance Sender Client where\n  send c = run c (pack text)\n",
        "Net Client Client.Client Client.Client.host Sender",
        "import:pack inherit:Show inherit:Sender use:Client call:run call:pack use:text",
    ),
    "a.java": (
        "import java.util.List;\n@Marker\nclass Client extends Base<Option> implements Sender {\n  private int port;\n"
        "  void send(Data data) { int local = this.port; other.run(local, new Job()); }\n}\nenum State { OPEN }\n",
        "Client Client.port Client.send State State.OPEN",
        "import:List call:Marker inherit:Base inherit:Sender use:Option use:Data use:port use:other call:run call:Job",
    ),
    "a.js": (
        "import { run as go } from 'x';\nconst fs = require('fs');\nclass Client extends Base {\n  port = 1;\n"
        "  send(data) { const local = go(data, `${other.name}`); return new Job(local); }\n}\n"
        "const table = { key: 1 };\n",
        "Client Client.port Client.send table table.key",
        "import:run import:go inherit:Base call:go use:other use:name call:Job",
    ),
    "a.kt": (
        "import net.Other\n@Marker class Client(val host: String) : Base<Option>(host), Sender {\n"
        "  val port = make()\n  fun send(data: Data) { val local = data; other.run(local, port) }\n}\n"
        "enum class State { OPEN }\n",
        "Client Client.host Client.port Client.send State State.OPEN",
        "import:Other call:Marker inherit:Base inherit:Sender use:Option use:Data use:other call:run call:make use:port",
    ),
    "a.lua": (
        "local other = require('other')\nlocal M = { key = 1 }\n"
        "function M.Client:send(data)\n  local x = data\n  return self.port:run(make(x))\nend\n",
        "M M.key M.Client.send",
        "call:require use:M use:Client use:port call:run call:make",
    ),
    "a.php": (
        "<?php\nuse Net\\Other;\nclass Client extends Base implements Sender {\n  use Closes;\n  private $port = 1;\n"
        "  function __construct(private Host $host) {}\n  function send($data) { $local = $data; $this->run($local);\n"
        "    make(new Job(Other::$total)); }\n}\nenum State { case Open; }\n",
        "Client Client.port Client.__construct Client.host Client.send State State.Open",
        "import:Other inherit:Base inherit:Sender inherit:Closes use:Host call:run call:make call:Job use:total",
    ),
    "a.py": (
        "from net import other as thing\n@marker\nclass Client(base.Base[Option]):\n    port: int = 1\n"
        "    def send(self, data: 'Data'):\n        local = data\n        return self.run(local, f'{thing.name}')\n",
        "Client Client.port Client.send",
        "import:other import:thing call:marker inherit:Base use:base use:Option use:Data call:run use:thing use:name",
    ),
    "a.rb": (
        "require 'x'\nmodule Net\n  class Client < Base\n    include Sender\n    attr_reader :port\n"
        "    before_save :check\n    def send(data)\n      local = @port\n      Other.run(local, data)\n    end\n  end\nend\n",
        "Net Net.Client Net.Client.port Net.Client.send",
        "inherit:Base inherit:Sender call:before_save use:check use:port use:Other call:run",
    ),
    "a.rs": (
        "use net::{other, Thing as It};\nstruct Client { port: u8 }\nenum State { Open(Data) }\n"
        "impl Sender<Option> for Client {\n    fn send(&self, data: Data) { let local = data;\n"
        "        other::run(local, self.port); say!(thing); Job { name: 1 } }\n}\n",
        "Client Client.port State State.Open Client Client.send",
        "import:other import:Thing inherit:Sender use:Option use:Data call:run use:port call:say use:thing call:Job",
    ),
    "a.scala": (
        "import net.Other\nclass Client(val host: String) extends Base[Option](host) with Sender {\n  val port = make()\n"
        "  def send(data: Data) = { other.run(data, new Job, s\"${thing.name}\") }\n}\n",
        "Client Client.host Client.port Client.send",
        "import:Other inherit:Base inherit:Sender use:Option use:Data call:make use:other call:run call:Job use:thing",
    ),
    "a.sh": (
        "LIMIT=3\nalias ll='ls -l'\nsend() {\n  local x=1\n  connect \"$LIMIT\" \"$(make)\"\n}\n",
        "LIMIT ll send",
        "call:connect use:LIMIT call:make",
    ),
    "a.swift": (
        "import Net\nclass Client: Base<Option>, Sender {\n  let port: Int = make()\n"
        "  func send(_ data: Data) { let local = data; other.run(x: local, y: port) }\n}\nenum State { case open }\n",
        "Client Client.port Client.send State State.open",
        "import:Net inherit:Base inherit:Sender use:Option use:Data call:make use:other call:run use:x use:port",
    ),
    "a.ts": (
        "import { run as go } from 'x';\ninterface Sender extends Base<Option> { port: number }\nenum State { Open }\n"
        "class Client<T> extends net.Parent implements Sender {\n  constructor(private host: Host) {}\n"
        "  send(data: Data) { const local: Kind['key'] = go(data); return new net.Job(local); }\n}\n",
        "Sender Sender.port State State.Open Client Client.constructor Client.host Client.send",
        "import:run inherit:Base use:Option inherit:Parent inherit:Sender use:Host use:Data use:key call:go call:Job",
    ),
    "a.tsx": (
        "import { Box } from 'x';\nexport const Page = ({ title }: Props) => <Box a={other}><b>{title}</b></Box>;\n",
        "Page",
        "import:Box call:Box use:Props use:other",
    ),
    "a.zig": (
        "const std = @import(\"std\");\npub const Client = struct {\n    port: u8,\n"
        "    pub fn send(self: *Client, data: Data) void { other.run(make(data), self.port); }\n};\n",
        "Client Client.port Client.send",
        "use:Client use:Data use:other call:run call:make use:port",
    ),
}  # fmt: skip
"""File name to its text, the qualified names that it defines, and some of the references with their kinds."""

LOCAL = {"local", "data"}
"""Parameters and local variables in the samples."""


def extract(name: str):
    data = SAMPLES[name][0].encode()
    grammar = grammar_name(detect_language(name, data), name)
    tree = parse(data, grammar)
    assert not tree.root_node.has_error
    return extract_facts(tree, data, grammar, find_definitions(tree, data, grammar))


def test_reference_queries_cover_every_grammar():
    sampled = {grammar_name(detect_language(name, b""), name) for name in SAMPLES}
    assert set(REFERENCE_QUERIES) == set(GRAMMARS) == sampled


@pytest.mark.parametrize("name", SAMPLES)
def test_extract_facts_definitions_in_each_language(name):
    found = [definition.qualified_name for definition in extract(name).definitions]
    assert sorted(found) == sorted(SAMPLES[name][1].split())


@pytest.mark.parametrize("name", SAMPLES)
def test_extract_facts_references_in_each_language(name):
    found = {f"{reference.kind}:{reference.name}" for reference in extract(name).references}
    assert set(SAMPLES[name][2].split()) <= found


@pytest.mark.parametrize("name", sorted(set(SAMPLES) - {"a.ex", "a.hs", "a.scala", "a.swift"}))
def test_extract_facts_omits_local_variables(name):
    assert not LOCAL & {reference.name for reference in extract(name).references}


@pytest.mark.parametrize("name", SAMPLES)
def test_extract_facts_scope_encloses_reference(name):
    facts = extract(name)
    for reference in facts.references:
        if reference.scope is not None:
            scope = facts.definitions[reference.scope]
            assert scope.start_line <= reference.line <= scope.end_line
