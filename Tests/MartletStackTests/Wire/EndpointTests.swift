import MartletStack
import Testing

@Suite struct EndpointTests {
    @Test(arguments: ["192.0.2.1:80", "[2001:db8::1]:65535", "[::]:0"])
    func `An endpoint is written as it is read`(text: String) {
        #expect(Endpoint(text)?.description == text)
    }

    @Test(arguments: [
        "", ":", "192.0.2.1", "192.0.2.1:", "192.0.2.1:+1", "192.0.2.1:65536", "192.0.2.1:-1", "2001:db8::1:80",
        "[::1]",
        "[::1]80", "[192.0.2.1]:80", "192.0.2.1 :80", "192.0.2.1:٣",
    ])
    func `What is no endpoint is none`(text: String) {
        #expect(Endpoint(text) == nil)
    }
}
