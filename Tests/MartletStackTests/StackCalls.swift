// The stack's calls as tests like them: short, and with nil for what cannot be done.

@testable import MartletStack

extension Stack {
    /// Listens; a port that is taken is a mistake of the test.
    mutating func listen(port: UInt16, backlog: Int) -> ListenerID {
        do throws(ListenError) { return try listen(on: port, backlog: backlog) } catch { fatalError("\(error)") }
    }

    /// Opens a connection from one of the stack's addresses; nil if it cannot be.
    mutating func connect(
        from local: IPAddress, to remote: IPAddress, port: UInt16, _ settings: TCPSettings = TCPSettings()
    ) -> ConnectionID? {
        try? connect(to: remote, port: port, from: local, settings)
    }

    /// The next connection that has news; other news are passed over.
    mutating func nextConnectionEvent() -> (ConnectionID, ConnectionEvents)? {
        while let event = nextEvent() {
            if case .connection(let id, let events) = event { return (id, events) }
        }
        return nil
    }
}
