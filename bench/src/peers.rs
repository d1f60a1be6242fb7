//! Who is measured: nobody in between (direct), nginx, a bare hyper proxy, and Portcullis with everything on.

mod bare;
mod nginx;
mod portcullis;
mod site;

use clap::ValueEnum;
use serde::Serialize;

pub(crate) use bare::serve as serve_bare;
pub(crate) use site::Site;

use crate::{calls::Target, child::Child, failure::Result};

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Peer {
    Direct,
    Nginx,
    /// A proxy of a hundred lines on the same HTTP library as Portcullis: what a hop costs before any governance.
    Hyper,
    Portcullis,
}

impl Peer {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Hyper => "hyper",
            Self::Portcullis => "portcullis",
        }
    }
}

/// A peer that runs and can be called.
pub(crate) struct Lane {
    pub(crate) peer: Peer,
    pub(crate) target: Target,
    /// None without a proxy. Held so that the proxy ends with the lane.
    pub(crate) child: Option<Child>,
}

impl Lane {
    pub(crate) async fn start(peer: Peer, site: &Site<'_>) -> Result<Self> {
        let (address, key, child) = match peer {
            Peer::Direct => (site.upstream, None, None),
            Peer::Nginx => nginx::start(site).await.map(|(address, child)| (address, None, Some(child)))?,
            Peer::Hyper => bare::start(site).await.map(|(address, child)| (address, None, Some(child)))?,
            Peer::Portcullis => {
                portcullis::start(site).await.map(|(address, key, child)| (address, Some(key), Some(child)))?
            }
        };
        let mcp_path = if peer == Peer::Portcullis { "/mcp/bench" } else { "/mcp" };
        // The others get a key of the same kind, which they pass on unread.
        let key = key.unwrap_or_else(|| "x".repeat(48));
        Ok(Self { peer, target: Target { address, key, mcp_path }, child })
    }

    pub(crate) fn process(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
}
