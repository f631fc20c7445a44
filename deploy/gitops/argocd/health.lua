-- What Argo CD shows of a Connector, a LakeTable and an IngestionUnit: their own conditions, in its words.
-- https://argo-cd.readthedocs.io/en/stable/operator-manual/health/#custom-health-checks
local health = {status = "Progressing", message = "the operator has not looked at it yet"}
if obj.metadata.deletionTimestamp ~= nil then
  health.message = "it is being deleted"
  return health
end
if obj.status == nil or obj.status.conditions == nil then
  return health
end
if obj.status.observedGeneration ~= nil and obj.metadata.generation ~= nil
    and obj.status.observedGeneration < obj.metadata.generation then
  health.message = "the operator has not looked at the newest spec yet"
  return health
end
local conditions = {}
for _, condition in ipairs(obj.status.conditions) do
  conditions[condition.type] = condition
end
local ready = conditions.Ready
local stalled = conditions.Stalled
if stalled ~= nil and stalled.status == "True" then
  health.status = "Degraded"
  health.message = stalled.reason .. ": " .. stalled.message
elseif ready ~= nil then
  health.message = ready.reason .. ": " .. ready.message
  if obj.status.phase == "Stopped" or obj.status.phase == "Paused" then
    health.status = "Suspended"
  elseif ready.status == "True" then
    health.status = "Healthy"
  end
end
return health
