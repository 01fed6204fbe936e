//! What a query sees: one catalog with one schema of tables and views, which nothing can be added to.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::{TableType, ViewTable};
use datafusion::execution::session_state::SessionState;

use super::base::BaseTables;
use crate::views::{VIEWS, view};

/// The name of the only catalog.
pub(crate) const CATALOG: &str = "tributary";
/// The name of its only schema.
pub(crate) const SCHEMA: &str = "public";

/// The tables and, over them, the views.
#[derive(Debug)]
pub(crate) struct PublicTables {
    base: Arc<BaseTables>,
    /// Functions and rules.
    template: Arc<SessionState>,
}

impl PublicTables {
    /// The views are planned with the template over the stored tables.
    pub(crate) fn new(base: Arc<BaseTables>, template: Arc<SessionState>) -> Self {
        Self { base, template }
    }

    /// Plans views: its schema holds the stored tables alone.
    fn planner(&self) -> SessionState {
        let mut planner = self.template.as_ref().clone();
        planner.register_catalog_list(Arc::new(Catalog::new(Arc::clone(&self.base) as Arc<dyn SchemaProvider>)));
        planner
    }
}

#[async_trait]
impl SchemaProvider for PublicTables {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.base.table_names();
        names.retain(|name| view(name).is_none());
        names.extend(VIEWS.iter().map(|view| view.name.to_owned()));
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(view) = view(name) else { return self.base.table(name).await };
        if let (Some((table, rule)), true) = (view.by_place, self.base.has_places()) {
            return Ok(Some(Arc::new(self.base.lake_table(table, Some(rule)).await?.with_definition(&view.sql))));
        }
        let plan = self.planner().create_logical_plan(&view.sql).await?;
        Ok(Some(Arc::new(ViewTable::new(plan, Some(view.sql.clone())))))
    }

    /// Without listing files or planning views.
    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        Ok(match (view(name), self.base.table_exist(name)) {
            (Some(_), _) => Some(TableType::View),
            (None, true) if matches!(name, "batches" | "blobs") => Some(TableType::View),
            (None, true) => Some(TableType::Base),
            (None, false) => None,
        })
    }

    fn table_exist(&self, name: &str) -> bool {
        view(name).is_some() || self.base.table_exist(name)
    }
}

/// One catalog with one schema. Registering is without effect.
#[derive(Debug)]
pub(crate) struct Catalog {
    only: Arc<OneSchema>,
}

#[derive(Debug)]
struct OneSchema {
    schema: Arc<dyn SchemaProvider>,
}

impl Catalog {
    pub(crate) fn new(schema: Arc<dyn SchemaProvider>) -> Self {
        Self { only: Arc::new(OneSchema { schema }) }
    }
}

impl CatalogProviderList for Catalog {
    fn register_catalog(&self, _name: String, _catalog: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![CATALOG.to_owned()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (name == CATALOG).then(|| Arc::clone(&self.only) as Arc<dyn CatalogProvider>)
    }
}

impl CatalogProvider for OneSchema {
    fn schema_names(&self) -> Vec<String> {
        vec![SCHEMA.to_owned()]
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        (name == SCHEMA).then(|| Arc::clone(&self.schema))
    }
}
