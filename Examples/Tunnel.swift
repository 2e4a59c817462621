// A tunnel: two hosts on one Ethernet, whose frames travel as UDP datagrams, one each.
//
//     swift run -c release Tunnel tap:tap0 --port 7117 --to 192.0.2.2:7117         # as root, on 192.0.2.1
//     swift run -c release Tunnel tap:tap0 --port 7117 --to 192.0.2.1:7117         # as root, on 192.0.2.2
//     ip link set tap0 mtu 1458 up && ip address add 10.0.0.1/24 dev tap0          # and 10.0.0.2/24 over there
//     ping 10.0.0.2
//
// The MTU leaves room for the tunnel's own headers in a path of 1,500 bytes: 20 of IPv4, 8 of UDP, 14 of Ethernet. Datagrams
// of anybody but the other end are dropped. Nothing is encrypted: it is an example. Ctrl-C ends it.

import ArgumentParser
import Foundation
import Martlet
import MartletStack

@main
struct Tunnel: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Carries the frames of a link to another host, over UDP.")

    @Argument(help: "A link, such as tap:tap0.") var link: String
    @Option(help: "The UDP port to receive at.") var port: UInt16 = 7117
    @Option(help: ArgumentHelp("The other end.", valueName: "address:port")) var to: String

    func run() async throws {
        let (name, peer, port) = (try LinkName(link), try SocketAddress(to), port)
        try await Runtime.run(.init(cores: .count(1), shutdownSignals: [.terminate, .interrupt])) { runtime in
            // The link and the socket are of one core: no frame changes threads.
            try await runtime.withLink(name) { link in
                let address: SocketAddress = if case .ipv4 = peer { .ipv4(.any, port: port) } else { .any(port: port) }
                let socket = try await runtime.cores[0].bindUDP(on: address)
                print("\(link.name) goes to \(peer)")
                fflush(nil)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await send(from: link, through: socket, to: peer) }
                    group.addTask { try await receive(from: socket, of: peer, into: link) }
                    defer { group.cancelAll() }
                    do { try await group.next() } catch LinkError.cancelled {} catch NetworkError.cancelled {}
                }
            }
        }
    }
}

@Sendable private func send(from link: OpenLink, through socket: UDPSocket, to peer: SocketAddress) async throws {
    while var burst = try await link.nextBurst() {
        var datagrams: [Datagram] = []
        burst.changeEach { frame in
            // The kernel leaves checksums to a network card, and there is none on this way.
            frame.completeChecksum()
            datagrams.append(Datagram(Bytes(copying: frame.bytes), to: peer))
        }
        burst.removeAll()
        do { _ = try await socket.send(contentsOf: datagrams) } catch NetworkError.cancelled {
            return
        }  // Nobody may be there yet, or any more: a tunnel drops what it cannot carry, as a cable does.
        catch {}
    }
}

@Sendable private func receive(from socket: UDPSocket, of peer: SocketAddress, into link: OpenLink) async throws {
    while true {
        do {
            guard let datagram = try await socket.receive() else { return }
            var burst = link.makeBurst()
            guard datagram.peer == peer, datagram.bytes.count <= burst.frameRoom, var frame = burst.takeFrame() else {
                continue
            }
            frame.copyBytes(from: datagram.bytes.bytes)
            burst.append(frame)
            link.transmit(burst)
        } catch NetworkError.cancelled {
            return
        } catch {}  // the other end's port was closed when something was sent there
    }
}
