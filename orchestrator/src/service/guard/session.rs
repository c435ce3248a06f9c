//! Who has logged in with a browser. Kept in memory: a restarted server asks for the token again.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use axum::http::header;
use subtle::ConstantTimeEq as _;

/// Until one must log in again.
const LIFE: Duration = Duration::from_hours(12);

/// Sessions at once; beyond that the oldest goes.
const MOST: usize = 1000;

/// The sessions of this process.
#[derive(Debug)]
pub(super) struct Sessions {
    /// The cookie's name. Cookies know no ports, so two servers of one machine would overwrite each other's.
    cookie: String,
    /// What forms of ours carry: only who may see a page knows it.
    form_secret: String,
    begun: Mutex<HashMap<String, Instant>>,
}

impl Sessions {
    pub(super) fn new(port: u16) -> io::Result<Self> {
        Ok(Self { cookie: format!("evolve-{port}"), form_secret: random()?, begun: Mutex::default() })
    }

    /// Begins one; returns its `Set-Cookie`.
    pub(super) fn begin(&self) -> io::Result<String> {
        let session = random()?;
        let mut begun = self.begun();
        begun.retain(|_, at| at.elapsed() < LIFE);
        if begun.len() >= MOST {
            let oldest = begun.iter().min_by_key(|(_, at)| **at).map(|(session, _)| session.clone());
            oldest.and_then(|oldest| begun.remove(&oldest));
        }
        begun.insert(session.clone(), Instant::now());
        Ok(self.set_cookie(&session, LIFE))
    }

    /// Ends it; returns the `Set-Cookie` that makes the browser forget it.
    pub(super) fn end(&self, headers: &HeaderMap) -> String {
        if let Some(session) = self.session(headers) {
            self.begun().remove(session);
        }
        self.set_cookie("", Duration::ZERO)
    }

    /// Whether a request belongs to one.
    pub(super) fn has(&self, headers: &HeaderMap) -> bool {
        let Some(session) = self.session(headers) else { return false };
        self.begun().get(session).is_some_and(|at| at.elapsed() < LIFE)
    }

    pub(super) fn form_secret(&self) -> &str {
        &self.form_secret
    }

    /// Whether a form carries our secret.
    pub(super) fn is_form_secret(&self, text: &str) -> bool {
        self.form_secret.as_bytes().ct_eq(text.as_bytes()).into()
    }

    /// `Lax`, so that a link to a page works; what changes something is guarded by more than the cookie.
    fn set_cookie(&self, session: &str, life: Duration) -> String {
        format!("{}={session}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax", self.cookie, life.as_secs())
    }

    fn session<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        cookies
            .flat_map(|cookies| cookies.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .find(|(name, _)| *name == self.cookie)
            .map(|(_, session)| session)
    }

    fn begun(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 256 bits that nobody can guess.
fn random() -> io::Result<String> {
    let mut words = [0; 4];
    for word in &mut words {
        *word = getrandom::u64().map_err(io::Error::other)?;
    }
    let [a, b, c, d] = words;
    Ok(format!("{a:016x}{b:016x}{c:016x}{d:016x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(cookie: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, cookie.parse().unwrap());
        headers
    }

    #[test]
    fn a_session_lasts_from_login_to_logout() {
        let sessions = Sessions::new(8090).unwrap();
        let cookie = sessions.begin().unwrap();
        let pair = cookie.split(';').next().unwrap();
        assert!(cookie.contains("HttpOnly"));
        assert!(sessions.has(&with(&format!("other=1; {pair}"))));
        assert!(!sessions.has(&with("evolve-8090=")));
        assert!(!sessions.has(&with(&pair.replace("8090", "8091"))));
        sessions.end(&with(pair));
        assert!(!sessions.has(&with(pair)));
    }

    #[test]
    fn only_so_many_sessions_are_kept() {
        let sessions = Sessions::new(1).unwrap();
        for _ in 0..MOST + 5 {
            sessions.begin().unwrap();
        }
        assert_eq!(sessions.begun().len(), MOST);
    }
}
