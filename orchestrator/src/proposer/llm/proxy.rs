//! Which proxy a request goes through. The environment's own are handed in by `config`, which alone reads it.

use reqwest::{ClientBuilder, NoProxy, Proxy};

use super::model::Model;
use crate::proposer::{ProposerError, Secret};

/// In place of an address: no proxy, whatever the environment says.
const NONE: &str = "none";

/// The proxies that the environment names. An address may hold a password.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvironmentProxies {
    /// For `https` addresses: `HTTPS_PROXY`, else `ALL_PROXY`.
    pub https: Option<Secret>,
    /// For `http` addresses: `HTTP_PROXY`, else `ALL_PROXY`.
    pub http: Option<Secret>,
    /// Hosts that are reached without: `NO_PROXY`.
    pub no_proxy: Option<String>,
}

/// Sets the proxy that a model's settings name, else the environment's. A server on this machine is reached without one unless the
/// settings name it: a proxy for the world can't reach it.
pub(super) fn set(builder: ClientBuilder, model: &Model) -> Result<ClientBuilder, ProposerError> {
    // Without this the library reads the environment by itself.
    let builder = builder.no_proxy();
    if let Some(own) = &model.proxy {
        return Ok(if own.expose() == NONE {
            builder
        } else {
            builder.proxy(Proxy::all(address(own)?).map_err(wrong)?)
        });
    }
    let environment = &model.environment;
    let named = if model.api_base.starts_with("https:") { &environment.https } else { &environment.http };
    match named {
        Some(proxy) if !is_local(&model.api_base) => {
            let exceptions = environment.no_proxy.as_deref().and_then(NoProxy::from_string);
            Ok(builder.proxy(Proxy::all(address(proxy)?).map_err(wrong)?.no_proxy(exceptions)))
        }
        _ => Ok(builder),
    }
}

/// The address, as curl would read it too.
fn address(proxy: &Secret) -> Result<String, ProposerError> {
    let text = proxy.expose();
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let scheme = reqwest::Url::parse(&text).map(|url| url.scheme().to_owned());
    match scheme.as_deref() {
        Ok("http" | "https") => Ok(text),
        Ok(other) => Err(setup(format!("is `{other}://...`, which evolve doesn't speak"))),
        Err(_) => Err(setup("is no address".to_owned())),
    }
}

fn wrong(_: reqwest::Error) -> ProposerError {
    setup("can't be used".to_owned())
}

/// Never with the address itself: it may hold a password.
fn setup(what: String) -> ProposerError {
    ProposerError::setup(
        format!("the proxy (llm.proxy, or HTTPS_PROXY in the environment) {what}"),
        "write http://HOST:PORT, or `proxy: none`",
    )
}

fn is_local(api_base: &str) -> bool {
    let url = reqwest::Url::parse(api_base).ok();
    url.as_ref().and_then(reqwest::Url::host_str).is_some_and(|host| {
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}
