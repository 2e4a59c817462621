// What may be written for a target, and what is said of what may not.

import Testing

@testable import MartletTool

@Suite struct TargetTests {
    @Test(arguments: [
        ("tcp://localhost:7007", Target.host("localhost", port: 7007)),
        ("localhost:7007", .host("localhost", port: 7007)),
        ("tcp://127.0.0.1:1", .host("127.0.0.1", port: 1)),
        ("tcp://127.0.0.1:65535/", .host("127.0.0.1", port: 65535)),
        ("tcp://[::1]:80", .host("::1", port: 80)),
        ("[2001:db8::1]:443", .host("2001:db8::1", port: 443)),
        ("unix:/run/echo.sock", .unix(path: "/run/echo.sock")),
        ("unix:///run/echo.sock", .unix(path: "/run/echo.sock")),
        ("unix:@echo", .unix(path: "@echo")),
    ])
    func `A target is a host and a port, with or without a scheme, or a path`(text: String, target: Target) throws {
        #expect(try Target(text) == target)
        #expect(try Target("\(target)") == target, "its description reads back")
    }

    @Test(arguments: [
        ("http://localhost:80", Target.Mistake.scheme("http://")),
        ("tcp://localhost", .noPort("tcp://localhost")),
        ("tcp://[::1]", .noPort("tcp://[::1]")),
        ("", .noPort("")),
        ("tcp://localhost:", .port("")),
        ("tcp://localhost:0", .port("0")),
        ("tcp://localhost:65536", .port("65536")),
        ("tcp://localhost:-1", .port("-1")),
        ("tcp://localhost:http", .port("http")),
        ("tcp://:80", .noHost("tcp://:80")),
        ("tcp://[]:80", .noHost("tcp://[]:80")),
        ("tcp://::1:80", .brackets("tcp://::1:80")),
        ("tcp://localhost:80/path", .path("tcp://localhost:80/path")),
        ("unix:", .noPath),
        ("unix://", .noPath),
    ])
    func `A text that is no target is refused with the reason and the remedy`(text: String, mistake: Target.Mistake) {
        #expect(throws: mistake) { try Target(text) }
        #expect("\(mistake)".contains("write "), "the remedy is named")
    }
}
