//! `/v1/clients`: the registry.

use axum::Json;
use axum::http::StatusCode;

use super::Api;
use super::error::{ApiError, ErrorKind};
use super::extract::{Body, Params, Segment};
use super::message::{ClientRequest, GroupsChange, LabelsChange, LimitChange, NewClientView};
use crate::access;
use crate::client_record::{ClientView, TokenHash};
use crate::engine::{ClientLimit, NewClient, Regroup, Relabel};
use crate::id::ClientId;

/// The least and the most characters of a token that the caller gives.
pub const TOKEN_LENGTH: std::ops::RangeInclusive<usize> = 16..=256;

pub(super) async fn list(api: Api, mut params: Params) -> Result<Json<Vec<ClientView>>, ApiError> {
    let group = params.take("group")?;
    let page = params.page()?;
    params.finish()?;
    Ok(Json(api.handle.clients(page, group).await?))
}

pub(super) async fn add(
    api: Api,
    Body(request): Body<ClientRequest>,
) -> Result<(StatusCode, Json<NewClientView>), ApiError> {
    let token = match request.token {
        Some(token) => {
            check_token(&token)?;
            token
        }
        None => access::new_token().map_err(|error| {
            ApiError::new(ErrorKind::Internal, format!("cannot make a token: {error}"))
        })?,
    };
    let hash = TokenHash::of(&token);
    let client = NewClient { id: request.id, groups: request.groups, token: Some(hash) };
    let client = api.handle.add_client(client).await?;
    Ok((StatusCode::CREATED, Json(NewClientView { client, token })))
}

/// The message does not repeat the token: it may be a good one with a stray space.
fn check_token(token: &str) -> Result<(), ApiError> {
    let (least, most) = (TOKEN_LENGTH.start(), TOKEN_LENGTH.end());
    if !TOKEN_LENGTH.contains(&token.len()) {
        let length = token.chars().count();
        return Err(ApiError::invalid(format!(
            "token: it has {length} characters; allowed are {least} to {most}"
        )));
    }
    match token.chars().position(|c| !c.is_ascii_graphic()) {
        None => Ok(()),
        Some(at) => Err(ApiError::invalid(format!(
            "token: character {} is not a visible ASCII character",
            at + 1
        ))),
    }
}

pub(super) async fn get(
    api: Api,
    Segment(id): Segment<ClientId>,
) -> Result<Json<ClientView>, ApiError> {
    Ok(Json(api.handle.client(id).await?))
}

pub(super) async fn remove(
    api: Api,
    Segment(id): Segment<ClientId>,
) -> Result<StatusCode, ApiError> {
    api.handle.remove_client(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn regroup(
    api: Api,
    Segment(id): Segment<ClientId>,
    Body(change): Body<GroupsChange>,
) -> Result<Json<ClientView>, ApiError> {
    let GroupsChange { add, remove } = change;
    if let Some(both) = add.intersection(&remove).next() {
        return Err(ApiError::invalid(format!("group {both:?} is both in add and in remove")));
    }
    Ok(Json(api.handle.regroup(Regroup { id, add, remove }).await?))
}

pub(super) async fn relabel(
    api: Api,
    Segment(id): Segment<ClientId>,
    Body(change): Body<LabelsChange>,
) -> Result<Json<ClientView>, ApiError> {
    let LabelsChange { set, remove } = change;
    if let Some(both) = remove.iter().find(|key| set.get(key).is_some()) {
        return Err(ApiError::invalid(format!("label {both} is both in set and in remove")));
    }
    Ok(Json(api.handle.label_client(Relabel { id, set, remove }).await?))
}

pub(super) async fn limit(
    api: Api,
    Segment(id): Segment<ClientId>,
    Body(change): Body<LimitChange>,
) -> Result<Json<ClientView>, ApiError> {
    let LimitChange { max_running } = change;
    Ok(Json(api.handle.limit_client(ClientLimit { id, max_running }).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_long_and_visible() {
        assert!(check_token("0123456789abcdef").is_ok());
        let message = |token: &str| check_token(token).unwrap_err().message;
        assert_eq!(message("short"), "token: it has 5 characters; allowed are 16 to 256");
        assert!(message(&"x".repeat(257)).contains("257 characters"));
        assert_eq!(
            message("0123456789abcdef\n"),
            "token: character 17 is not a visible ASCII character"
        );
    }
}
