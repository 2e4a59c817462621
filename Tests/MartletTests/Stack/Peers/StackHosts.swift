// Two hosts with a wire between them: one whose stack is a program's, which is an example that was built beside the tests, and one
// whose stack is the kernel's.

import Foundation
import NetworkRig
import Testing

/// What the wire is made of.
enum PeerLink: String, CaseIterable, CustomTestStringConvertible {
    case tap, packet, xdp
    var testDescription: String { rawValue }
}

/// Two hosts: `stack` is where the program under test runs, `peer` is the kernel's.
final class StackHosts {
    let stack: Namespace
    let peer: Namespace
    /// As on the command line.
    let link: String
    private let interface: String?
    private let pair: VethPair?

    init(_ kind: PeerLink) throws {
        stack = try Namespace()
        if kind == .tap {
            // The other side of a TAP is the kernel that it was opened in.
            peer = stack
            let name = Rig.uniqueName()
            link = "tap:" + name
            interface = name
            pair = nil
            return
        }
        peer = try Namespace()
        let pair = try VethPair(left: stack, right: peer)
        try pair.right.add(address: "10.77.0.1/24")
        // What the peer leaves to the card would come without a checksum: nobody computes one on a veth.
        try pair.right.set(offload: "tx", false)
        self.pair = pair
        link = "\(kind.rawValue):" + pair.left.name
        interface = nil
    }

    /// Starts an example that listens, on 10.77.0.2.
    func serve(_ example: String, _ arguments: String...) throws -> NetworkRig.Program {
        let program = try stack.start(
            [Example.path(example)] + arguments + ["--link", link, "--address", "10.77.0.2/24"])
        try program.writes("listening on")
        // A TAP is there once it is opened.
        if let interface {
            try stack.ip("address", "add", "10.77.0.1/24", "dev", interface)
            try stack.ip("link", "set", interface, "up")
        }
        return program
    }
}

enum Example {
    /// A program that was built beside the tests.
    static func path(_ name: String) -> String {
        URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath().deletingLastPathComponent()
            .appendingPathComponent(name).path
    }
}
