// Addresses and statistics.

internal import Martlet

extension Conformance {
    static let knowing: [Check] = [
        Check("both ends know both addresses, and they agree") { environment in
            let seen = Promise<(SocketAddress?, SocketAddress?)>()
            try await environment.serving { connection in
                seen.keep(await (connection.local, connection.peer))
                _ = try await connection.receive()
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    let (serverLocal, serverPeer) = try await seen.value
                    try expectEqual(serverLocal, address, "the server's own address")
                    try expectEqual(await connection.peer, address, "the client's peer")
                    if address.port != nil {
                        try expectEqual(await connection.local, serverPeer, "the client's address")
                    }
                }
            }
        },
        Check("a listener on port 0 has a port of its own") { environment in
            try await environment.listening { _, listener in
                if let port = listener.address.port { try expect(port != 0, "the listener says port 0") }
            }
        },
        Check("info tells of the connection while it is open", needs: .acknowledges) { environment in
            try await environment.serving { connection in
                for try await bytes in connection { try await connection.send(bytes) }
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    try await connection.send(Pattern.bytes(10_000))
                    try await connection.flush()
                    guard let info = await connection.info else {
                        throw ConformanceFailure(description: "there is no info")
                    }
                    try expectEqual(info.state, .established, "the state")
                    // A SYN counts as one byte.
                    try expect((10_000...10_001).contains(info.bytesAcked), "\(info.bytesAcked) bytes are acknowledged")
                    try expect(info.srtt > .zero && info.sendMSS > 0 && info.cwnd > 0, "info is empty: \(info)")
                    var reader = PatternReader()
                    try await reader.read(upTo: 10_000, of: connection)
                    let received = await connection.info?.bytesReceived
                    try expect((received ?? 0) >= 10_000, "\(received ?? 0) bytes are received")
                }
            }
        },
        Check("the counters count what happened") { environment in
            let environment = environment.onOneCore()
            try await environment.serving { connection in
                for try await bytes in connection { try await connection.send(bytes) }
            } client: { runtime, address in
                try await runtime.withConnection(to: address) { connection in
                    try await connection.send(Pattern.bytes(1000))
                    try await connection.finish()
                    var reader = PatternReader()
                    try await reader.readAll(of: connection)
                }
                let counters = await runtime.counters()[0]
                try expectEqual(counters.accepted, 1, "accepted")
                try expectEqual(counters.connected, 1, "connected")
                try expectEqual(counters.bytesReceived, 2000, "bytes received")
                try expectEqual(counters.bytesSent, 2000, "bytes sent")
                try expectEqual(counters.resetsSent, 0, "resets sent")
                try expect(counters.rounds > 0 && counters.jobs > 0, "no rounds or jobs")
            }
        },
    ]
}
