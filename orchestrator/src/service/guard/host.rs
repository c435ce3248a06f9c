//! By which names the server may be called.

use std::net::{IpAddr, SocketAddr};

use axum::extract::Request;
use axum::http::header;

use super::super::problem::Problem;

/// The names of this server.
#[derive(Debug)]
pub(super) struct Hosts {
    listen: IpAddr,
    names: Vec<String>,
}

impl Hosts {
    pub(super) fn new(listen: SocketAddr, names: &[String]) -> Self {
        Self { listen: listen.ip(), names: names.iter().map(|name| name.to_ascii_lowercase()).collect() }
    }

    pub(super) fn check(&self, request: &Request) -> Result<(), Problem> {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().ok(),
            _ => return Err(Problem::bad_request("a request must say one Host")),
        };
        let ours = host.and_then(name_of).is_some_and(|name| self.is_ours(&name));
        // Of an address written out in full, the name there must be ours too.
        let ours = ours && request.uri().host().is_none_or(|name| self.is_ours(&name.to_ascii_lowercase()));
        if ours {
            return Ok(());
        }
        Err(Problem::forbidden(format!(
            "this server isn't called {:?}; if it should be, start it with --allow-host NAME",
            host.unwrap_or("(no text)")
        )))
    }

    /// The port is no matter: a tunnel or a proxy has its own, and only a name can be made to point elsewhere.
    fn is_ours(&self, name: &str) -> bool {
        if self.names.iter().any(|ours| ours == name) {
            return true;
        }
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            // Listening everywhere, it has addresses that it doesn't know; an address in figures can't be rebound.
            Ok(address) => address == self.listen || address.is_loopback() || self.listen.is_unspecified(),
            Err(_) => name == "localhost",
        }
    }
}

/// `name:port` without the port.
fn name_of(host: &str) -> Option<String> {
    let authority: axum::http::uri::Authority = host.parse().ok()?;
    // A name before an @ would be no host.
    (!host.contains('@')).then(|| authority.host().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn check(listen: &str, name: &[&str], host: &str) -> bool {
        let names: Vec<String> = name.iter().map(|name| (*name).to_owned()).collect();
        let hosts = Hosts::new(listen.parse().unwrap(), &names);
        let request = Request::builder().uri("/").header("host", host).body(Body::empty()).unwrap();
        hosts.check(&request).is_ok()
    }

    #[test]
    fn only_names_of_this_server_pass() {
        for host in ["localhost:8090", "LOCALHOST", "127.0.0.1:9000", "[::1]:8090", "127.0.0.1"] {
            assert!(check("127.0.0.1:8090", &[], host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8090",
            "localhost.evil.example",
            "127.0.0.1.evil.example:8090",
            "evil@localhost",
            "localhost@evil.example",
            "192.168.1.5:8090",
            "127.0.0.1:8090, evil.example",
            "",
        ] {
            assert!(!check("127.0.0.1:8090", &[], host), "{host}");
        }
    }

    #[test]
    fn a_name_can_be_allowed_and_addresses_where_it_listens_everywhere() {
        assert!(check("127.0.0.1:1", &["Searches.example"], "searches.example:443"));
        assert!(check("0.0.0.0:1", &[], "192.168.1.5:1"));
        assert!(!check("0.0.0.0:1", &[], "evil.example"));
        assert!(check("192.168.1.5:1", &[], "192.168.1.5"));
    }
}
