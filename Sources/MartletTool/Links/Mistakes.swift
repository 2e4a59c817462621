// What is wrong with an argument, where more is to be said than that it is.

import Foundation

enum Mistakes {
    static func show(_ text: String) { FileHandle.standardError.write(Data((text + "\n").utf8)) }
}
