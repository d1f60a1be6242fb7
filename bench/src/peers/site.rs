//! What every proxy needs to start.

use std::{net::SocketAddr, path::Path};

pub(crate) struct Site<'a> {
    pub(crate) upstream: SocketAddr,
    pub(crate) cores: &'a str,
    /// The gateway's store; an embedded one in `folder` when there is none.
    pub(crate) store: Option<&'a str>,
    /// For configuration, logs and data.
    pub(crate) folder: &'a Path,
}
