//! Forms of our own pages.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::Service;
use super::super::problem::Problem;

/// The name of the hidden field that carries the secret.
pub const FIELD: &str = "form_secret";

/// What a page's form carries in its hidden field [`FIELD`], so that [`Form`] takes it.
#[derive(Debug, Clone)]
pub struct FormSecret(pub String);

impl FromRequestParts<Service> for FormSecret {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(_: &mut Parts, service: &Service) -> Result<Self, Self::Rejection> {
        Ok(Self(service.guard().form_secret().to_owned()))
    }
}

/// A form that was filled in on a page of ours. Handlers that change something take this, never axum's own.
#[derive(Debug)]
pub struct Form<T>(pub T);

#[derive(Deserialize)]
struct Guarded {
    #[serde(default)]
    form_secret: String,
}

impl<T: DeserializeOwned> FromRequest<Service> for Form<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, service: &Service) -> Result<Self, Problem> {
        let wrong =
            |error: &dyn std::fmt::Display| Problem::bad_request(format!("this form can't be read: {error}"));
        let axum::extract::RawForm(bytes) =
            axum::extract::RawForm::from_request(request, service).await.map_err(|error| wrong(&error))?;
        let uri = |bytes: &[u8]| format!("/?{}", String::from_utf8_lossy(bytes)).parse::<axum::http::Uri>();
        let uri = uri(&bytes).map_err(|error| wrong(&error))?;
        let guarded = axum::extract::Query::<Guarded>::try_from_uri(&uri).map_err(|error| wrong(&error))?;
        if !service.guard().is_form_secret(&guarded.0.form_secret) {
            return Err(Problem::forbidden(
                "this form is not of a page that is open here now; load the page again",
            ));
        }
        let form = axum::extract::Query::<T>::try_from_uri(&uri).map_err(|error| wrong(&error))?;
        Ok(Self(form.0))
    }
}
