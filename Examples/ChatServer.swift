import Martlet

@main struct ChatServer { static func main() async throws { try await Runtime.run { _ in } } }
