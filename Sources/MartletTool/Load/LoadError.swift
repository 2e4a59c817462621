// What can go wrong with a request, and how it is told: errors are counted by kind.

import Glibc
import Martlet

enum LoadError: Error, Hashable, CustomStringConvertible {
    /// What came back is not what was sent.
    case differs(at: Int)
    /// The server ended the connection (FIN) although an answer was due.
    case finished
    case noServer(SocketAddress)
    /// No connection came to be.
    case noConnection(String)

    var description: String {
        switch self {
        case .differs(let position): "what came back differs from what was sent at byte \(position) of the connection"
        case .finished: "the server closed the connection before it had answered"
        case .noServer(let address):
            "nobody listens at \(address): start an echo server there first, "
                + (address.port.map { "as 'swift run -c release EchoServer --port \($0)' does" } ?? "on that path")
        case .noConnection(let reason): "no connection came to be: \(reason)"
        }
    }

    /// The kind of an error, as one line of the report.
    static func kind(of error: any Error) -> String {
        switch error {
        case LoadError.differs: "answers that differ from the request (is it an echo server?)"
        case LoadError.finished: "closed by the server"
        case NetworkError.reset: "reset by the server"
        case NetworkError.deadlineExceeded: "no connection within 10 s"
        case NetworkError.connectionRefused: "refused"
        case NetworkError.addressNotAvailable, NetworkError.system(EADDRNOTAVAIL, _):
            "no local port free, closed connections keep theirs for a minute (--reset avoids that)"
        case NetworkError.outOfDescriptors: "no file descriptor left (raise 'ulimit -n')"
        default: "\(error)"
        }
    }
}
