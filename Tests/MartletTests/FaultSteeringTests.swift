// New connections on the core whose CPU received their packets (SO_ATTACH_REUSEPORT_CBPF, socket(7)).

import CMartlet
import Testing

@testable import Martlet

/// The CPUs that this process may use.
private let usableCPUs: [Int] = unsafe withUnsafeTemporaryAllocation(of: Int32.self, capacity: 1024) { buffer in
    let count = unsafe martlet_usable_cpus(buffer.baseAddress, 1024)
    return unsafe buffer.prefix(Int(max(0, min(count, 1024)))).map(Int.init)
}

@Suite struct FaultSteering {
    // On the loopback device a packet is received on the CPU that sent it, so the client's CPU decides.
    @Test(
        "a connection goes to the core whose CPU its packets arrive on", .enabled(if: usableCPUs.count > 1),
        arguments: bothDrivers)
    func receivingCPU(driver: DriverChoice) async throws {
        let cpus = Array(usableCPUs.prefix(2))
        var configuration = Runtime.Configuration(cores: .these(cpus), driver: driver)
        configuration.logger = nil
        var options = ConnectionOptions()
        options.steering = .receivingCPU
        try await within(seconds: 30) { [configuration, options] in
            try await Runtime.run(configuration) { runtime in
                let port = Promise<UInt16>()
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        try await runtime.serve(
                            on: .loopback(port: 0), options: options, onListening: { port.keep($0.port!) },
                            handler: echo)
                    }
                    let port = await port.value
                    for (index, cpu) in cpus.enumerated() {
                        let before = await runtime.counters().map(\.accepted)
                        try await onThread {
                            guard martlet_thread_pin(Int32(cpu)) == 0 else { throw Failed("cannot pin to CPU \(cpu)") }
                            for _ in 0..<40 {
                                let peer = try Peer(port: port)
                                try peer.send([1])
                                #expect(try peer.receive(exactly: 1) == [1])
                                peer.close()
                            }
                        }
                        let after = await runtime.counters().map(\.accepted)
                        let gained = zip(after, before).map { $0 - $1 }
                        #expect(gained[index] == 40, "\(gained) connections from CPU \(cpu)")
                    }
                    group.cancelAll()
                }
            }
        }
    }
}
