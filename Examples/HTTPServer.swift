import Martlet

@main struct HTTPServer { static func main() async throws { try await Runtime.run { _ in } } }
