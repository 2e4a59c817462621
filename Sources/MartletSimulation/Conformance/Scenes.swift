// The stages that the checks play on: a server with a client, a listener with a client, a pair of connected ends.

internal import Martlet

extension Conformance.Environment {
    /// Runs a runtime, with an address to listen on.
    func withRuntime(
        _ body: @escaping @Sendable (_ runtime: Runtime, _ address: SocketAddress) async throws -> Void
    ) async throws {
        let address = address()
        defer { release(address) }
        try await Runtime.run(configuration) { try await body($0, address) }
    }

    /// Serves with `handler` while `client` runs, then ends the server.
    ///
    /// What the check expected in vain inside a handler fails the check.
    func serving(
        _ options: ConnectionOptions = .init(), onError: ErrorHandler? = nil, handler: @escaping ConnectionHandler,
        client: @escaping @Sendable (_ runtime: Runtime, _ address: SocketAddress) async throws -> Void
    ) async throws {
        try await withRuntime { runtime, wanted in
            let address = Promise<SocketAddress>()
            let failure = Promise<Void>()
            let end = Promise<Void>()
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    let result = await outcome {
                        try await runtime.serve(
                            on: wanted, options: options, onListening: { address.keep($0) },
                            onError: { error in
                                // A handler fails a moment before its client notices. The handler's reason is the better one.
                                if error is ConformanceFailure {
                                    failure.fail(error)
                                    end.fail(error)
                                }
                                onError?(error)
                            }, handler: handler)
                        throw ConformanceFailure(description: "serve returned before it was told to")
                    }
                    end.resolve(result)
                }
                group.addTask {
                    end.resolve(await outcome { try await client(runtime, try await address.value) })
                }
                _ = await outcome { try await end.value }
                group.cancelAll()
            }
            if failure.isKept { try await failure.value }
            try await end.value
        }
    }

    /// Serves with `handler` while a plain socket is connected to it.
    func servingPlain(
        _ options: ConnectionOptions = .init(), receiveBuffer: Int? = nil, sendBuffer: Int? = nil,
        handler: @escaping ConnectionHandler, peer: @escaping @Sendable (PlainSocket) async throws -> Void
    ) async throws {
        try await serving(options, handler: handler) { _, address in
            try await peer(
                onThread { try PlainSocket(to: address, receiveBuffer: receiveBuffer, sendBuffer: sendBuffer) })
        }
    }

    /// Runs `body` on the first core, with a listener of that core.
    func listening(
        _ options: ConnectionOptions = .init(),
        _ body: @escaping @Sendable (_ runtime: Runtime, _ listener: TCPListener) async throws -> Void
    ) async throws {
        try await withRuntime { runtime, address in
            try await runtime.forEachCore { core in
                guard core.index == 0 else { return }
                try await body(runtime, core.listen(on: address, options: options))
            }
        }
    }
}

extension ConnectionOptions {
    /// Small kernel buffers, so that back-pressure acts after a few hundred kilobytes.
    static var tight: ConnectionOptions {
        var options = ConnectionOptions()
        options.kernelReceiveBuffer = 65_536
        options.kernelSendBuffer = 65_536
        options.sendLimit = 65_536
        options.receiveLimit = 65_536
        return options
    }

    func with(_ change: (inout ConnectionOptions) -> Void) -> ConnectionOptions {
        var options = self
        change(&options)
        return options
    }
}

extension TCPConnection {
    /// Waits without reading until this task is cancelled.
    nonisolated(nonsending) func waitForTheEnd() async throws {
        while true { try await core.sleep(for: .seconds(3600)) }
    }
}
