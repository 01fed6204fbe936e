-- fees by model
SELECT model_id, count(*) AS inferences, sum(fee) AS fees FROM inferences GROUP BY model_id ORDER BY fees DESC, model_id LIMIT 20;
-- volume by hour
SELECT date_trunc('hour', event_time) AS hour, count(*) AS inferences, sum(output_tokens) AS tokens FROM inferences GROUP BY 1 ORDER BY 1;
-- median latency by model
SELECT model_id, median(latency_us) AS latency FROM inferences GROUP BY model_id ORDER BY model_id;
-- top requesters
SELECT requester, count(*) AS inferences, sum(fee) AS fees FROM inferences GROUP BY requester ORDER BY fees DESC, requester LIMIT 10;
-- top contributions by weight
SELECT contribution_id, sum(weight) AS weight, count(*) AS entries FROM attributions GROUP BY contribution_id ORDER BY weight DESC, contribution_id LIMIT 20;
-- weight by datanet
SELECT c.datanet_id, sum(a.weight) AS weight FROM attributions a JOIN (SELECT DISTINCT contribution_id, datanet_id FROM contributions) c ON c.contribution_id = a.contribution_id GROUP BY c.datanet_id ORDER BY weight DESC, c.datanet_id;
-- inferences without attribution
SELECT count(*) AS inferences FROM inferences i WHERE NOT EXISTS (SELECT 1 FROM attributions a WHERE a.inference_id = i.inference_id);
-- score by model
SELECT i.model_id, avg(f.score) AS score, count(*) AS votes FROM feedback f JOIN inferences i ON i.inference_id = f.inference_id GROUP BY i.model_id ORDER BY i.model_id;
-- requesters by day
SELECT date_trunc('day', event_time) AS day, count(DISTINCT requester) AS requesters FROM inferences GROUP BY 1 ORDER BY 1;
-- events by type and producer
SELECT type, producer, count(*) AS events, max(accepted_at) AS latest FROM events GROUP BY type, producer ORDER BY type, producer;
