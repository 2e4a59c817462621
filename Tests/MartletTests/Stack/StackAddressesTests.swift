// What a program hears of the addresses of its runtime's own stack.

import MartletStack
import Testing

@testable import Martlet

@Suite("The addresses of a runtime's own stack")
struct StackAddressesTests {
    @Test("the addresses are those that were given, and the loopback's; the kernel's transport has none")
    func given() async throws {
        let network = MemoryNetwork()
        try await Runtime.run(StackRuntime.member(network, 1, cores: 2)) { runtime in
            let addresses = await runtime.addresses()
            #expect(addresses.map { $0.map(\.address.description) } == [["10.0.0.1/24"], ["127.0.0.1/8", "::1/128"]])
            #expect(addresses.allSatisfy { $0.allSatisfy(\.isUsable) })
        }
        var configuration = Runtime.Configuration(cores: .count(1), logger: nil)
        configuration.pinsThreads = false
        try await Runtime.run(configuration) { #expect(await $0.addresses().isEmpty) }
    }

    @Test("of two hosts with one address, the one that asks first hears that it is taken, and does not use it")
    func conflict() async throws {
        let network = MemoryNetwork()
        var second = StackInterface(network: network, addresses: [InterfaceAddress("10.0.0.1/24")!])
        second.detectsConflicts = true
        let claiming = StackRuntime.configuration([second])
        try await within(seconds: 60) {
            try await Runtime.run(StackRuntime.member(network, 1)) { first in
                try await Runtime.run(claiming) { runtime in
                    // The first probe goes after a while: this is in time.
                    let events = runtime.interfaceEvents()
                    let claimed = await runtime.addresses()[0]
                    #expect(claimed.map(\.isUsable) == [false])
                    var heard: InterfaceEvent?
                    for await event in events {
                        heard = event
                        break
                    }
                    #expect(heard?.change == .conflict && heard?.interface == 0 && heard?.origin == .manual)
                    #expect(heard?.address == InterfaceAddress("10.0.0.1/24")!)
                    #expect(await runtime.addresses()[0].isEmpty)
                }
                #expect(await first.addresses()[0].map(\.isUsable) == [true])
            }
        }
    }

    @Test("the sequence of events ends with its runtime, and each call begins another")
    func ends() async throws {
        let streams = try await Runtime.run(StackRuntime.configuration()) { runtime in
            let cancelled = Task { for await _ in runtime.interfaceEvents() {} }
            cancelled.cancel()
            await cancelled.value
            return [runtime.interfaceEvents(), runtime.interfaceEvents()]
        }
        for stream in streams { for await _ in stream { Issue.record("nothing has happened") } }
    }
}
