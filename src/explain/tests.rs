//! Tests of explanations over stores that an engine has written.
