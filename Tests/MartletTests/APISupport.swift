// What the tests of the public API share.

import Martlet

/// Both drivers: what the API promises does not depend on which.
let everyDriver: [DriverChoice] = [.ioUring, .epoll]

extension Runtime.Configuration {
    /// Unpinned cores of one driver, so that tests may run side by side.
    static func test(_ driver: DriverChoice, cores: Int = 1) -> Runtime.Configuration {
        var configuration = Runtime.Configuration(cores: .count(cores), driver: driver, logger: nil)
        configuration.pinsThreads = false
        return configuration
    }
}
