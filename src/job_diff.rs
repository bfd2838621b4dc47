//! Interim.
use crate::engine::FieldChange;
use crate::job::JobSpec;
pub(crate) fn fields(before: Option<&JobSpec>, after: &JobSpec) -> Vec<FieldChange> {
    if before == Some(after) {
        return Vec::new();
    }
    vec![FieldChange { field: "x".into(), before: None, after: None }]
}
