import Martlet

@main struct EchoClient { static func main() async throws { try await Runtime.run { _ in } } }
