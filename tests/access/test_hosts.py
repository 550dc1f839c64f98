"""Which names are this app's: its own, addresses, and nothing that only looks like one."""

import pytest

from llmdemo.access.hosts import KnownHosts, host_name, known_hosts, origin_host


@pytest.mark.parametrize(
    ("header", "name"),
    [
        *(("localhost:7860", "localhost"), ("Demo.Example", "demo.example"), ("demo.example.", "demo.example")),
        *(("[::1]:80", "::1"), ("10.0.0.7", "10.0.0.7"), ("my_box-1:65535", "my_box-1")),
        *(("localhost:7873@evil.example", ""), ("localhost:7873:80", ""), ("", ""), ("a b", ""), ("a/b", "")),
        *(("localhost:99999", ""), ("localhost:", ""), ("[::1", ""), ("::1", ""), ("localhost\x00", ""), ("a,b", "")),
    ],
)
def test_the_name_in_a_host_header(header, name):
    assert host_name(header) == name


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        *(("http://localhost:7860", "localhost:7860"), ("https://demo.example/x?y", "demo.example")),
        *(("null", None), ("http://[::1", None), ("http://a@b.example", None), ("file:///x", None), ("", None)),
        *(("http://", None), ("http://a:b:c", None)),
    ],
)
def test_the_host_of_an_origin(origin, host):
    assert origin_host(origin) == host


def test_addresses_and_loopback_need_no_naming_and_other_names_do():
    hosts = KnownHosts(["demo.example"])
    assert all(map(hosts.has, ("demo.example:80", "DEMO.example", "127.0.0.1:1", "[::1]", "localhost", "192.168.1.5")))
    assert not any(map(hosts.has, ("evil.example", "demo.example.evil.example", "", "localhost@evil.example")))


def test_a_proxy_decides_on_names_unless_they_are_given():
    assert known_hosts((), {}, behind_proxy=True).has("any.example")
    assert not known_hosts(("demo.example",), {}, behind_proxy=True).has("any.example")
    assert known_hosts((), {"SPACE_ID": "a/b"}, behind_proxy=False).has("any.example")
    assert not known_hosts((), {}, behind_proxy=False).has("any.example")
    assert known_hosts((), {"SPACE_HOST": "ann-demo.hf.space, demo.example"}, behind_proxy=False).has("demo.example")
