// Filters, held against what they mean, against the kernel's own machine and against tcpdump.

import CMartlet
import Glibc
import MartletStack
import NetworkRig
import Testing

@testable import Martlet
@testable import MartletSimulation

@Suite struct FilterTests {
    @Test func `A compiled filter wants the frames that the words want`() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = FilterGenerator(random: SeededGenerator(seed: seed))
        var wanted = 0
        for _ in 0..<400 {
            let filter = generator.filter()
            let program = try filter.compiled()
            for _ in 0..<50 {
                let frame = generator.frame()
                let expected = FilterReference(frame: frame).matches(filter)
                let found = program.wants(frame)
                if expected { wanted += 1 }
                #expect(found == expected, "seed \(seed): \(filter.expression) of \(frame)")
                if found != expected { return }
            }
        }
        // Neither answer is so rare that the comparison says nothing.
        #expect((4000...16_000).contains(wanted), "seed \(seed): \(wanted) of 20000")
    }

    @Test func `The kernel runs the same instructions with the same outcome`() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = FilterGenerator(random: SeededGenerator(seed: seed))
        for _ in 0..<60 {
            let program = try generator.filter().compiled()
            var ends: [Int32] = [-1, -1]
            try #require(unsafe socketpair(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0, &ends) == 0)
            defer { for end in ends { close(end) } }
            let attached = unsafe program.kernelInstructions.withUnsafeBufferPointer {
                unsafe martlet_filter_attach(ends[1], $0.baseAddress, UInt16($0.count))
            }
            try #require(attached == 0, "seed \(seed): \(program.listing)")
            for _ in 0..<40 {
                let frame = generator.frame()
                #expect(unsafe send(ends[0], frame, frame.count, 0) == frame.count)
                var buffer = [UInt8](repeating: 0, count: 2048)
                let passed = unsafe recv(ends[1], &buffer, buffer.count, Int32(MSG_DONTWAIT)) > 0
                #expect(passed == program.wants(frame), "seed \(seed): \(program.listing) of \(frame)")
            }
        }
    }

    static let expressions = [
        "", "ip", "ip6", "arp", "tcp", "udp", "icmp", "icmp6", "tcp port 80", "udp dst port 53", "src port 443",
        "portrange 80-443", "host 10.0.0.1", "src host 10.0.0.1", "net 10.0.0.0/9", "dst net 192.0.2.0/24",
        "ip6 host 2001:db8:0:1::1", "net 2001:db8::/32", "not tcp", "! ip and not arp", "tcp or udp and port 53",
        "(tcp or udp) and port 53", "ether host 02:00:00:00:00:01", "ether src 02:00:00:00:00:02", "ether proto 0x88cc",
        "broadcast", "multicast", "less 60", "greater 61", "ip proto 17", "ip6 proto 6", "sctp",
        "ip and not (port 80 or port 443) and net 10.0.0.0/8",
    ]

    @Test(
        .enabled(if: Rig.has("tcpdump"), "tcpdump is not installed"), arguments: expressions)
    func `tcpdump understands the same expression in the same way`(_ expression: String) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = FilterGenerator(random: SeededGenerator(seed: seed))
        // Untagged: tcpdump does not look behind tags unless it is told to.
        let frames = (0..<1000).map { _ in generator.frame() }.filter {
            ![0x81, 0x88].contains($0[12]) || $0[13] == 0xCC
        }
        let path = "/tmp/martlet-filter-\(getpid()).pcap"
        try writeCapture(frames, to: path)
        defer { _ = unsafe unlink(path) }
        let program = try Filter(expression).compiled()
        let wanted = frames.count { program.wants($0) }
        let result = try Program.run(
            ["tcpdump", "-n", "-t", "-q", "--count", "-r", path] + (expression.isEmpty ? [] : [expression]))
        let counted = result.output.split(separator: " ").first.flatMap { Int($0) }
        #expect(counted == wanted, "seed \(seed): '\(expression)'")
    }

    @Test(arguments: [
        ("tcp port", "a number, 0 ... 65535, was expected here, and not the end (character 9)"),
        ("tcp port http", "and not 'http' (character 10)"),
        ("tcp and", "a word of the filter language was expected here, and not the end (character 8)"),
        ("(tcp or udp", "')' was expected here"),
        ("tcp udp", "'and', 'or' or the end was expected here, and not 'udp' (character 5)"),
        ("host 10.0.0", "an IP address was expected here, and not '10.0.0' (character 6)"),
        ("net 10.0.0.0/33", "a prefix of 0 ... 32 bits was expected here"),
        ("net 10.0.0.1/8", "no bits behind its prefix"),
        ("portrange 10", "a range of ports"), ("portrange 10-5", "a range of ports"),
        ("vlan 4096", "a VLAN is 0 ... 4095"),
        ("ether host 1:2", "an Ethernet address"), ("frobnicate", "a word of the filter language"),
        (")", "(character 1)"),
    ])
    func `What is wrong with an expression is said with its place`(_ text: String, _ said: String) {
        let error = #expect(throws: LinkError.self) { try Filter(text) }
        #expect(error?.description.contains(said) == true, "\(String(describing: error))")
        #expect(error?.description.contains("^") == true)
    }

    @Test func `An expression of thousands of brackets ends as an error`() {
        #expect(throws: LinkError.self) { try Filter(String(repeating: "(", count: 10_000) + "tcp") }
        #expect(throws: LinkError.self) { try Filter(String(repeating: "not ", count: 10_000) + "tcp") }
    }

    @Test func `Long filters jump far, and too long ones are refused`() throws {
        // 120 prefixes are more than a conditional jump reaches over.
        let prefixes = (0..<120).map { Filter.net(.v4(IPv4Address(bits: 0x0A00_0000 + $0 << 8)), prefix: 24, .source) }
        let program = try prefixes.dropFirst().reduce(prefixes[0]) { $0 || $1 }.compiled()
        #expect(program.count > 1000)
        var frame = [UInt8](repeating: 0, count: 60)
        (frame[12], frame[13], frame[14], frame[26], frame[29]) = (8, 0, 0x45, 10, 9)
        for network in 0..<256 {
            frame[28] = UInt8(network)
            #expect(program.wants(frame) == (network < 120))
        }
        var endless = Filter.tcp
        for port in 0..<300 { endless = endless || .port(UInt16(port)) }
        #expect(throws: LinkError.self) { try endless.compiled() }
    }

    @Test func `A program that would leave its instructions is none`() {
        typealias Instruction = Filter.Program.Instruction
        let end = Instruction(code: 0x06, operand: 1)
        #expect(Filter.Program(checking: []) == nil)
        #expect(Filter.Program(checking: [end]) != nil)
        #expect(Filter.Program(checking: [Instruction(code: 0x05, operand: 1), end]) == nil)
        #expect(Filter.Program(checking: [Instruction(code: 0x15, ifTrue: 0, ifFalse: 1), end]) == nil)
        #expect(Filter.Program(checking: [Instruction(code: 0x28, operand: 12)]) == nil)
        #expect(Filter.Program(checking: [Instruction(code: 0xFFFF), end]) == nil)
    }

    @Test func `A tag that the kernel keeps beside the frame is found too`() throws {
        let program = try Filter.vlan(5).compiled()
        let frame = [UInt8](repeating: 0, count: 60)
        #expect(program.wants(frame, tag: 0x2005) == true)
        #expect(program.wants(frame, tag: 6) == false)
        #expect(program.wants(frame) == false)
    }
}

/// A file of frames as tcpdump(8) reads it: pcap-savefile(5).
private func writeCapture(_ frames: [[UInt8]], to path: String) throws {
    func word(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) } }
    var bytes = word(0xA1B2_C3D4) + [2, 0, 4, 0] + word(0) + word(0) + word(262_144) + word(1)
    for frame in frames { bytes += word(0) + word(0) + word(UInt32(frame.count)) + word(UInt32(frame.count)) + frame }
    guard let file = unsafe fopen(path, "w") else { throw RigFailure("cannot write \(path)") }
    defer { _ = unsafe fclose(file) }
    #expect(unsafe fwrite(bytes, 1, bytes.count, file) == bytes.count)
}
