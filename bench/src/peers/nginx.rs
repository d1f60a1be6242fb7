//! nginx with one worker and kept-alive connections to the upstream: the yardstick.

use std::{fs, net::SocketAddr};

use super::site::Site;
use crate::{
    child::{Child, find_program, free_address},
    failure::Result,
};

pub(super) async fn start(site: &Site<'_>) -> Result<(SocketAddr, Child)> {
    let program = find_program("nginx").ok_or("not installed; on Debian: apt-get install nginx-light")?;
    let folder = site.folder.join("nginx");
    fs::create_dir_all(&folder)?;
    let address = free_address()?;
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration(address, site.upstream))?;
    let prefix = folder.join("");
    let arguments =
        ["-p".as_ref(), prefix.as_os_str(), "-c".as_ref(), file.as_os_str(), "-e".as_ref(), "error.log".as_ref()];
    let mut child = Child::start(&program, arguments, site.cores, &folder)?;
    child.ready(address, "/").await?;
    Ok((address, child))
}

/// Paths are relative to the prefix. Bodies of this size stay in memory, so the temporary folders are never written.
/// Without `proxy_buffering off` a stream would be held back until a buffer is full.
fn configuration(listen: SocketAddr, upstream: SocketAddr) -> String {
    format!(
        "daemon off;
worker_processes 1;
pid nginx.pid;
error_log error.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    upstream mock {{
        server {upstream};
        keepalive 512;
        keepalive_timeout 1h;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {listen};
        location / {{
            proxy_pass http://mock;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_buffering off;
        }}
    }}
}}
"
    )
}
