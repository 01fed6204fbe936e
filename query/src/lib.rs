//! tributary-query
