"""Raw HTTP requests, valid and invalid, put together at random, for tests of the server."""

METHODS = (b"GET", b"HEAD", b"OPTIONS", b"POST", b"PUT", b"DELETE", b"TRACE", b"CONNECT", b"get", b"",
           b"G\0T", b"\xff\xfe", b"__class__", b"GET\t", b"A" * 300)  # fmt: skip
VERSIONS = (b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/9.9.9", b"HTTP/", b"", b"http/1.1",
            b"HTTP/1.1 x", b"HTTP/\xb2.1", b"HTTP/999999999999.1", b"HTTP/-1.1")  # fmt: skip
ENDS = (b"\r\n", b"\n", b"\r", b"\0", b"", b"\r\n\r\n")
HOSTS = (b"localhost", b"127.0.0.1", b"[::1]:8000", b"evil.example", b"", b"[", b"localhost:x", b"\xff",
         b"127.0.0.1.evil.example", b"a" * 5000)  # fmt: skip
FIELDS = (
    b"Range: bytes=0-9", b"Range: bytes=-1", b"Range: bytes=9-0", b"Range: bytes=" + b"9" * 5000 + b"-",
    b"Range: bytes=0-0,-1,5-", b"Range: \xb2-\xb3", b"Range: bytes=\xb2-", b"Range:", b"Range: bytes=--5",
    b"If-None-Match: *", b"If-None-Match: \"a\", W/\"b\"", b"If-Range: \xff", b"If-Range: \"a\"",
    b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: x", b"Transfer-Encoding: chunked",
    b"Expect: 100-continue", b"Connection: keep-alive", b"Connection: close", b"no colon", b": empty",
    b" folded", b"Bad\0Name: x", b"X: " + b"y" * 70_000, b"Host: localhost",
    b"\xe2\x82\xac: \xf0\x9f\x98\x80",
)  # fmt: skip


def targets(root):
    """Return request targets: paths inside a folder of that name, outside it, and no paths at all."""
    name = root.encode()
    return (
        name + b"/zarr.json", name, name + b"/", b"/", b"", b"*", b"/..", name + b"/../secret.txt",
        name + b"/%2e%2e/secret.txt", name + b"/..%2fsecret.txt", name + b"/%252e%252e/secret.txt",
        name + b"/link.txt", name + b"/zarr.json%00", name + b"/zarr.json\0", name + b"/%", name + b"/%zz",
        name + b"/%ff%fe", name + b"/\xff\xfe", name + b"/" + b"a" * 5000, name + b"/" + b"a/" * 3000,
        name + b"/zarr.json?" + b"q" * 3000, name + b"/zarr.json#x", b"//etc/passwd", b"/etc/passwd",
        b"http://[", b"http://[::1", b"http://127.0.0.1" + name + b"/zarr.json", b"//[/x", b"http://evil.example/",
        b"http://\xff/", b"file:///etc/passwd", b"https://localhost:99999999" + name, b"a b c", b"\x85\xa0",
        name + b"/0/c/0/0/0", b"x" * 70_000,
    )  # fmt: skip


def random_request(rng, root):
    """Return a request; most of them have something wrong."""

    def pick(choices):
        return choices[rng.integers(len(choices))]

    end = pick(ENDS) if rng.random() < 0.2 else b"\r\n"
    method = pick(METHODS) if rng.random() < 0.4 else pick(METHODS[:3])
    version = pick(VERSIONS) if rng.random() < 0.4 else VERSIONS[0]
    line = b" ".join((method, pick(targets(root)), version))
    fields = [b"Host: " + (pick(HOSTS) if rng.random() < 0.4 else b"localhost")] * (rng.random() < 0.9)
    fields += [pick(FIELDS) for _ in range(rng.integers(0, 4))]
    text = end.join((line, *fields, b"", b""))
    if rng.random() < 0.2:
        text = text[: rng.integers(len(text) + 1)]
    if rng.random() < 0.2:
        at = rng.integers(max(1, len(text)))
        text = text[:at] + rng.bytes(rng.integers(1, 9)) + text[at + rng.integers(0, 5) :]
    return text * (1 + (rng.random() < 0.1))
