// An HTTP/1.1 server with a parser of a screen: `GET /` says hello, everything else is refused politely.
//
//     swift run -c release HTTPServer --port 8080
//     curl -i http://127.0.0.1:8080/                          # in another terminal
//     wrk -c 128 -t 1 -d 3 http://127.0.0.1:8080/
//
// Requests are read where the runtime received them; only the start of one whose end is still on its way is copied.
// RFC 9112 is the standard beside it. Date is left out, as a server without a clock may (RFC 9110 §6.6.1).

import ArgumentParser
import Foundation
import Martlet

@main
struct HTTPServer: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Says hello in HTTP/1.1.")

    @Option(help: "The port to listen on; 0 lets the kernel choose.") var port: UInt16 = 8080
    @Option(help: "The number of cores to use. (default: all)") var cores: Int?
    @Option(help: "io_uring, epoll or automatic.") var driver: DriverChoice = .automatic
    @Option(help: "A link to run Martlet's own TCP/IP on, such as tap:tap0. (default: the kernel's TCP/IP)")
    var link: String?
    @Option(help: "An address on that link, such as 10.0.0.2/24; may be repeated. (default: DHCP and SLAAC)")
    var address: [String] = []
    @Option(help: "A router on that link; may be repeated.") var gateway: [String] = []

    func run() async throws {
        let configuration = Runtime.Configuration(
            transport: try .init(link: link, addresses: address, gateways: gateway),
            cores: cores.map { .count($0) } ?? .all, driver: driver, shutdownSignals: [.terminate, .interrupt])
        var options = ConnectionOptions()
        options.firstByteTimeout = .seconds(5)
        options.idleTimeout = .seconds(60)
        options.writeTimeout = .seconds(10)
        try await Runtime.run(configuration) { [options] runtime in
            try await runtime.serve(on: .any(port: port), options: options, onListening: announce) { connection in
                var requests = Requests()
                while !requests.haveEnded, try await connection.receive({ requests.read($0) }) {
                    try await connection.send(requests.replies)
                    requests.replies.removeAll(keepingCapacity: true)
                    if runtime.isShuttingDown { return }
                }
                if requests.haveEnded {
                    // To close over unread bytes is to reset, perhaps before the client has read the last reply.
                    try await connection.finish()
                    for _ in 0..<64 { guard try await connection.receive(within: .seconds(1)) != nil else { break } }
                }
            }
        }
    }
}

typealias Text = Slice<UnsafeRawBufferPointer>

/// The requests of a connection, and the replies to them that are still to be sent.
struct Requests {
    /// One buffer for the connection's life.
    var replies: [UInt8] = []
    /// No more is read: the client wants it so, or what it sent cannot be understood.
    private(set) var haveEnded = false
    /// The start of a request whose end has not come yet, and how much of a request's body is still to be skipped.
    private var unfinished: [UInt8] = [], bodyLeft = 0

    mutating func read(_ span: RawSpan) -> Int {
        span.withUnsafeBytes { bytes in
            if unfinished.isEmpty {
                unfinished.append(contentsOf: bytes[parse(bytes)...])
            } else {
                let text = unfinished + bytes
                unfinished = Array(text[text.withUnsafeBytes { parse($0) }...])
            }
        }
        return span.byteCount
    }

    /// Answers the requests that are complete, and returns how many bytes they took.
    private mutating func parse(_ bytes: UnsafeRawBufferPointer) -> Int {
        var rest = bytes[...]
        while !haveEnded {
            let skipped = min(bodyLeft, rest.count)
            bodyLeft -= skipped
            rest = rest.dropFirst(skipped)
            var head = rest.prefix(16 * 1024)
            if answer(&head) {
                rest = bytes[head.startIndex...]
            } else if rest.count < 16 * 1024 {
                return rest.startIndex
            } else {
                _ = refuse("431 Request Header Fields Too Large")
            }
        }
        return bytes.count  // what comes after the last request is for nobody
    }

    /// Takes a request from `text` and answers it. Returns false if its end is missing.
    private mutating func answer(_ text: inout Text) -> Bool {
        guard var line = text.take(upTo: "\n")?.trimmed else { return false }
        if line.isEmpty { return true }  // RFC 9112 §2.2
        guard let method = line.take(upTo: " "), let target = line.take(upTo: " "), method.isVisible, target.isVisible,
            line.elementsEqual("HTTP/1.1".utf8) || line.elementsEqual("HTTP/1.0".utf8)
        else { return refuse() }
        let isOld = line.last == UInt8(ascii: "0")
        var (length, hosts, closes, keepsAlive) = (Int?.none, 0, false, false)
        while true {
            guard var value = text.take(upTo: "\n") else { return false }
            if value.isEmpty || value.elementsEqual("\r".utf8) { break }
            guard let name = value.take(upTo: ":"), name.isVisible else { return refuse() }
            if name.isLike("host") { hosts += 1 }
            if name.isLike("transfer-encoding") { return refuse("501 Not Implemented") }
            if name.isLike("content-length") {
                guard length == nil, let number = value.trimmed.number else { return refuse() }
                length = number
            }
            if name.isLike("connection") {
                for option in value.split(separator: UInt8(ascii: ",")) {
                    closes = closes || option.trimmed.isLike("close")
                    keepsAlive = keepsAlive || option.trimmed.isLike("keep-alive")
                }
            }
        }
        if hosts > 1 || (hosts == 0 && !isOld) { return refuse() }  // §3.2
        bodyLeft = length ?? 0
        closes = closes || (isOld && !keepsAlive)
        if !method.elementsEqual("GET".utf8) {
            return reply("405 Method Not Allowed", "Allow: GET\r\nContent-Length: 0", closing: closes)
        }
        if !target.elementsEqual("/".utf8) { return reply("404 Not Found", closing: closes) }
        return reply("200 OK", "Content-Type: text/plain\r\nContent-Length: 13", "Hello, World!", closing: closes)
    }

    private mutating func refuse(_ status: StaticString = "400 Bad Request") -> Bool { reply(status, closing: true) }

    private mutating func reply(
        _ status: StaticString, _ fields: StaticString = "Content-Length: 0", _ body: StaticString = "", closing: Bool
    ) -> Bool {
        haveEnded = closing
        let connection: StaticString = closing ? "close" : "keep-alive"
        for text in ["HTTP/1.1 ", status, "\r\n", fields, "\r\nConnection: ", connection, "\r\n\r\n", body] {
            replies.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
        }
        return true
    }
}

extension Text {
    /// Takes away what is before `separator`, and the separator. Nil if there is none.
    mutating func take(upTo separator: Unicode.Scalar) -> Text? {
        guard let end = firstIndex(of: UInt8(ascii: separator)) else { return nil }
        defer { self = self[(end + 1)...] }
        return self[..<end]
    }

    /// Without blanks and line ends around it.
    var trimmed: Text {
        let start = firstIndex { $0 > 32 } ?? endIndex
        return self[start..<(lastIndex { $0 > 32 } ?? start - 1) + 1]
    }

    var number: Int? {
        allSatisfy { (48..<58).contains($0) } ? Int(String(decoding: self, as: UTF8.self)) : nil
    }

    var isVisible: Bool { !isEmpty && allSatisfy { $0 > 32 && $0 < 127 } }

    /// `word` is in lower case.
    func isLike(_ word: StaticString) -> Bool {
        count == word.utf8CodeUnitCount && indices.allSatisfy { self[$0] | 32 == word.utf8Start[$0 - startIndex] }
    }
}

/// Prints the address at once, even into a pipe.
@Sendable private func announce(_ address: SocketAddress) {
    print("listening on \(address)")
    fflush(nil)
}

extension DriverChoice: ExpressibleByArgument {}
