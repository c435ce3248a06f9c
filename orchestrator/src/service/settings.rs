//! What a service is told from outside.

use std::net::SocketAddr;
use std::path::PathBuf;

use subtle::ConstantTimeEq as _;

/// How a service listens, whom it lets in, and what it may start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The address that it listens at.
    pub listen: SocketAddr,
    /// What clients must know; without one every client that reaches the address is let in.
    pub token: Option<Token>,
    /// Names beside the address that it is called by.
    pub hosts: Vec<String>,
    /// Folders whose configurations may be run.
    pub configs: Vec<PathBuf>,
    /// Most runs started from here at once.
    pub max_runs: usize,
    /// The program that runs are started with: this one.
    pub program: PathBuf,
}

/// A secret that clients must know. Never shown, compared in constant time.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Fewer characters could be guessed.
    pub const SHORTEST: usize = 16;

    /// A token, without what surrounds it.
    ///
    /// # Errors
    /// It is too short, or has characters that a header can't carry.
    pub fn new(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.len() < Self::SHORTEST {
            return Err(format!(
                "the token has {} characters and must have at least {} (`openssl rand -hex 32` makes a good one)",
                text.len(),
                Self::SHORTEST
            ));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("the token must be one line of letters, digits and signs".to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether it is this text. Takes equally long wherever they differ.
    pub fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(...)")
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn a_token_is_long_and_never_shown() {
        assert!(Token::new("short").unwrap_err().contains("at least 16"));
        assert!(Token::new("with a space in it, and long").is_err());
        let token = Token::new("0123456789abcdef\n").unwrap();
        assert!(token.is("0123456789abcdef"));
        assert!(!token.is("0123456789abcdeg") && !token.is(""));
        assert!(!format!("{token:?}").contains("0123"));
    }
}
