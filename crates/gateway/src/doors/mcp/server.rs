//! Who the gateway says that it is.

use portcullis_interop::mcp::answer::Server;

/// Who the gateway says that it is.
pub const SERVER: Server<'static> = Server {
    name: "portcullis",
    version: env!("CARGO_PKG_VERSION"),
    instructions: Some(
        "Tools behind a gateway. A result that says it was blocked is final for these arguments: do not repeat the call, do what the text says instead.",
    ),
};
