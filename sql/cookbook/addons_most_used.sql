-- Which add-ons do most people use?
-- clients_daily lists the add-ons that were active, each client's once a day; a person counts once in the week however
-- many of its days have the add-on.
-- Watch for: COUNT(DISTINCT client_id), because UNNEST makes a row for each add-on and day. The share is of all clients
-- of the week, those without add-ons too. Add-ons of the system come with the browser: leave them out. Change the dates
-- and the application.
SELECT
  addon.id AS addon_id,
  MAX(addon.name) AS name,
  COUNT(DISTINCT client_id) AS clients,
  COUNT(DISTINCT client_id) / (
    SELECT COUNT(DISTINCT client_id)
    FROM telemetry.clients_daily
    WHERE submission_date BETWEEN DATE '2026-03-23' AND DATE '2026-03-29' AND app_name = 'Firefox'
  ) AS share
FROM telemetry.clients_daily
CROSS JOIN UNNEST(active_addons) AS addon
WHERE
  submission_date BETWEEN DATE '2026-03-23' AND DATE '2026-03-29'
  AND app_name = 'Firefox'
  AND NOT IFNULL(addon.is_system, FALSE)
GROUP BY addon_id
ORDER BY clients DESC, addon_id
LIMIT 20
