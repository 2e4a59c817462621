import Martlet

@main struct TCPProxy { static func main() async throws { try await Runtime.run { _ in } } }
