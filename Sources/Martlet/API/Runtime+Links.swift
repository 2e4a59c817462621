// Opening links on the cores of a runtime.

internal import CMartlet
public import MartletStack

extension Runtime {
    /// Opens a link by its name, runs `body` with it, and closes it.
    ///
    /// On a core the link is opened there, so that links that are opened inside of one another share a core and its pool; from
    /// elsewhere, on the next core in turn.
    ///
    /// - Throws: ``LinkError`` if it cannot be opened, and what `body` throws.
    public func withLink<R: Sendable>(
        _ name: LinkName, _ body: @Sendable (OpenLink) async throws -> R
    ) async throws -> R {
        try await anyCore.withLink(name, body)
    }

    /// The same with a link that `open` makes for frames of a core's pool: of any kind, also one of the program's own.
    public func withLink<Opened: Link & ~Copyable, R: Sendable>(
        opening open: @Sendable (borrowing FramePool) throws(LinkError) -> Opened,
        _ body: @Sendable (OpenLink) async throws -> R
    ) async throws -> R {
        try await anyCore.withLink(opening: open, body)
    }
}

extension Core {
    /// Opens a link on this core. See ``Runtime/withLink(_:_:)``.
    public func withLink<R: Sendable>(
        _ name: LinkName, _ body: @Sendable (OpenLink) async throws -> R
    ) async throws -> R {
        if machine != nil {
            throw LinkError.unsupported(
                link: name.description, what: "a link of its own for a program on a simulated host",
                remedy: "simulate the hosts at its ends, which have a port each")
        }
        return try await onCore {
            guard name.kind == .memory else {
                let link = try withFramePool { pool throws(LinkError) in try name.open(for: pool) }
                return try await use(link, body)
            }
            let end = links.pipeEnd(name.name)
            let link = try withFramePool { AnyLink(MemoryLink(end, pool: $0)) }
            return try await use(link, closing: { links.willClose(end) }, body)
        }
    }

    /// Opens a link on this core. See ``Runtime/withLink(opening:_:)``.
    public func withLink<Opened: Link & ~Copyable, R: Sendable>(
        opening open: @Sendable (borrowing FramePool) throws(LinkError) -> Opened,
        _ body: @Sendable (OpenLink) async throws -> R
    ) async throws -> R {
        try await onCore {
            let link = try withFramePool { pool throws(LinkError) in AnyLink(try open(pool)) }
            return try await use(link, body)
        }
    }

    private func use<R: Sendable>(
        _ link: consuming AnyLink, closing: () -> Void = {}, _ body: @Sendable (OpenLink) async throws -> R
    ) async throws -> R {
        let pool = try withFramePool { $0.makeBurst(capacity: 1) }
        let handle = OpenLink(link, core: self, pool: pool)
        defer {
            closing()
            handle.close()
        }
        return try await body(handle)
    }
}
