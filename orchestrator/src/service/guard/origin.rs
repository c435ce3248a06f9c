//! Whether what changes something comes from a page of ours.

use axum::extract::Request;
use axum::http::header::{self, HeaderName};
use axum::http::{Method, Uri};

use super::super::problem::Problem;

/// Reading is free: no answer may be read by a foreign page. Anything else must come from here, or from a program that says nothing of
/// where it comes from. (A browser that says nothing either can't send what handlers take: JSON, or a form with our secret.)
pub(super) fn check(request: &Request) -> Result<(), Problem> {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE) {
        return Ok(());
    }
    let text = |name: HeaderName| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    let foreign = || Problem::forbidden("this request comes from another site's page");
    if text(HeaderName::from_static("sec-fetch-site"))
        .is_some_and(|site| site != "same-origin" && site != "none")
    {
        return Err(foreign());
    }
    if let Some(origin) = text(header::ORIGIN) {
        let authority = origin.parse::<Uri>().ok().and_then(|uri| uri.authority().cloned());
        let host = text(header::HOST).unwrap_or_default();
        // `null`, which a page in a sandbox says, is no authority.
        if !authority.is_some_and(|authority| authority.as_str().eq_ignore_ascii_case(host)) {
            return Err(foreign());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn status(method: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().method(method).uri("/").header("host", "localhost:8090");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(&request.body(Body::empty()).unwrap()).map_or_else(|problem| problem.status, |()| 200)
    }

    const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

    #[test]
    fn a_program_and_a_page_of_ours_may_change_something() {
        assert_eq!(status("POST", &[JSON]), 200);
        assert_eq!(
            status("POST", &[JSON, ("origin", "http://localhost:8090"), ("sec-fetch-site", "same-origin")]),
            200
        );
        assert_eq!(
            status("GET", &[("origin", "http://evil.example"), ("sec-fetch-site", "cross-site")]),
            200
        );
    }

    #[test]
    fn a_foreign_page_may_not_and_nothing_it_could_send_unasked_is_taken() {
        for origin in [
            "http://evil.example",
            "null",
            "http://localhost:8091",
            "http://localhost:8090.evil.example",
            "",
            "file://",
        ] {
            assert_eq!(status("POST", &[JSON, ("origin", origin)]), 403, "{origin}");
        }
        assert_eq!(status("POST", &[JSON, ("sec-fetch-site", "same-site")]), 403);
        assert_eq!(status("DELETE", &[JSON, ("sec-fetch-site", "cross-site")]), 403);
    }
}
