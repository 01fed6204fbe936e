"use strict";
// Starts GraphiQL on this server: queries by POST, subscriptions over WebSocket.
const url = new URL("/graphql", location.href);
const wsUrl = new URL("/graphql/ws", location.href);
wsUrl.protocol = url.protocol === "https:" ? "wss:" : "ws:";
const fetcher = GraphiQL.createFetcher({
  url: url.href,
  wsClient: graphqlWs.createClient({ url: wsUrl.href }),
});
const defaultQuery = `# The latest answers and what they owe to which contributions.
{
  meta { cut latestEpoch }
  inferences(first: 5, orderBy: { field: AT, direction: DESC }) {
    totalCount
    nodes {
      inferenceId
      modelId
      fee
      at
      finality
      attribution { method entries(first: 3) { nodes { contributionId share } } }
    }
    pageInfo { hasNextPage endCursor }
  }
}
`;
ReactDOM.createRoot(document.getElementById("graphiql")).render(React.createElement(GraphiQL, { fetcher, defaultQuery }));
