# SPDX-License-Identifier: Apache-2.0
"""What dashboards are made of: panels, variables and links, as Grafana's JSON has them."""

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24
GREEN, YELLOW, ORANGE, RED, BLUE = "green", "yellow", "orange", "red", "blue"
LEGENDS = {"none": {"showLegend": False, "displayMode": "list", "placement": "bottom", "calcs": []},
           "list": {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []},
           "table": {"showLegend": True, "displayMode": "table", "placement": "right",
                     "calcs": ["lastNotNull", "max"]}}


def thresholds(*steps, base=GREEN):
    """thresholds((0.8, ORANGE), (1, RED)): the colour from each value on."""
    return {"mode": "absolute",
            "steps": [{"color": base, "value": None}]
            + [{"color": color, "value": value} for value, color in steps]}


def link(title, **more):
    return {"title": title, "type": "link", "url": "", "tags": [], "icon": "", "tooltip": "",
            "asDropdown": False, "includeVars": False, "keepTime": False, "targetBlank": False,
            **more}


def runbook(alert):
    return link(f"Runbook: {alert}", url="${runbooks}/" + alert + ".md",
                targetBlank=True)


def target(expr, legend="", **more):
    return {"datasource": SOURCE, "expr": expr, "legendFormat": legend or "__auto",
            "range": True, **more}


def table_target(expr):
    return target(expr, format="table", instant=True, range=False)


def panel(kind, title, targets, *, width, height=8, unit="short", about="", steps=None,
          links=(), color="palette-classic", custom=None, options=None, bounds=(0, None),
          overrides=(), decimals=None, transformations=()):
    defaults = {"unit": unit, "color": {"mode": color}, "custom": custom or {},
                "thresholds": steps or thresholds(), "mappings": []}
    for name, value in (("min", bounds[0]), ("max", bounds[1]), ("decimals", decimals)):
        if value is not None:
            defaults[name] = value
    made = {"type": kind, "title": title, "description": about, "datasource": SOURCE,
            "targets": [{"refId": chr(ord("A") + i), **t} for i, t in enumerate(targets)],
            "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
            "options": options or {}, "links": [runbook(alert) for alert in links],
            "gridPos": {"w": width, "h": height, "x": 0, "y": 0}}
    if transformations:
        made["transformations"] = list(transformations)
    return made


def stat(title, expr, *, width=4, **more):
    options = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
               "colorMode": "value", "graphMode": "area", "textMode": "auto",
               "justifyMode": "center", "orientation": "auto", "wideLayout": True,
               "showPercentChange": False, "percentChangeColorMode": "standard"}
    return panel("stat", title, [target(expr)], width=width, height=4, color="thresholds",
                 options=options, **more)


def lines(title, *targets, width=12, stacked=False, legend="list", limit=False, **more):
    """Over time. `limit`: draws the thresholds as lines."""
    custom = {"drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1,
              "fillOpacity": 60 if stacked else 10, "showPoints": "never", "spanNulls": False,
              "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
              "thresholdsStyle": {"mode": "dashed" if limit else "off"}}
    options = {"legend": LEGENDS[legend],
               "tooltip": {"mode": "multi", "sort": "desc"}}
    return panel("timeseries", title, targets, width=width, custom=custom, options=options, **more)


def heat(title, expr, *, width=12, unit="s", **more):
    """A histogram's buckets over time."""
    options = {"calculate": False, "cellGap": 1, "showValue": "never",
               "color": {"mode": "scheme", "scheme": "Spectral", "exponent": 0.5, "steps": 64,
                         "reverse": True, "fill": "dark-orange"},
               "exemplars": {"color": "rgba(255,0,255,0.7)"},
               "filterValues": {"le": 1e-9}, "legend": {"show": True},
               "rowsFrame": {"layout": "le"}, "yAxis": {"axisPlacement": "left", "unit": unit},
               "tooltip": {"mode": "single", "yHistogram": False, "showColorScale": False}}
    return panel("heatmap", title, [target(expr, "{{le}}", format="heatmap")], width=width,
                 unit=unit, options=options, bounds=(None, None), **more)


def table(title, columns, *, by, width=WIDTH, height=8, **more):
    """`columns`: {heading: (expression, unit, thresholds)}; rows are joined by the labels `by`."""
    rename, overrides = {}, []
    for i, (heading, (_, unit, steps)) in enumerate(columns.items()):
        rename[f"Value #{chr(ord('A') + i)}"] = heading
        properties = [{"id": "unit", "value": unit}]
        if steps:
            properties += [{"id": "thresholds", "value": steps},
                           {"id": "custom.cellOptions", "value": {"type": "color-text"}}]
        overrides.append({"matcher": {"id": "byName", "options": heading},
                          "properties": properties})
    shown = {name: i for i, name in enumerate(list(by) + list(rename))}
    steps = [{"id": "merge", "options": {}},
             {"id": "organize", "options": {"excludeByName": {"Time": True},
                                            "indexByName": shown, "renameByName": rename}}]
    targets = [table_target(expr) for expr, _, _ in columns.values()]
    return panel("table", title, targets, width=width, height=height, color="thresholds",
                 custom={"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False},
                 options={"showHeader": True, "cellHeight": "sm"}, bounds=(None, None),
                 overrides=overrides + list(more.pop("overrides", ())), transformations=steps,
                 **more)


def variable(name, label, query, *, many=True):
    made = {"name": name, "label": label, "type": "query", "datasource": SOURCE, "hide": 0,
            "query": {"query": query, "refId": name}, "refresh": 2, "sort": 1,
            "multi": many, "includeAll": many, "skipUrlSync": False}
    if many:
        made.update(allValue=".*", current={"text": "All", "value": "$__all"})
    return made


def dashboard(uid, title, about, variables, rows):
    """`rows` are lists of panels, set from left to right and top to bottom."""
    panels, y, number = [], 0, 0
    for row in rows:
        x = 0
        for item in row:
            number += 1
            if x + item["gridPos"]["w"] > WIDTH:
                raise ValueError(f"{title}: {item['title']} does not fit its row")
            item["gridPos"].update(x=x, y=y)
            x += item["gridPos"]["w"]
            panels.append({"id": number, **item})
        y += max(item["gridPos"]["h"] for item in row)
    first = [{"name": "datasource", "label": "Data source", "type": "datasource", "hide": 0,
              "query": "prometheus", "refresh": 1, "skipUrlSync": False, "multi": False,
              "includeAll": False},
             {"name": "runbooks", "label": "Address of the runbooks", "type": "constant",
              "hide": 2, "query": "docs/runbooks", "skipUrlSync": True}]
    others = link("Leaseplane", type="dashboards", tags=["leaseplane"], includeVars=True,
                  keepTime=True, icon="dashboard")
    return {"uid": uid, "title": title, "description": about, "tags": ["leaseplane"],
            "schemaVersion": 39, "version": 1, "editable": False, "graphTooltip": 1,
            "timezone": "browser", "refresh": "30s", "time": {"from": "now-1h", "to": "now"},
            "fiscalYearStartMonth": 0, "liveNow": False, "weekStart": "",
            "annotations": {"list": []}, "links": [others],
            "templating": {"list": first + variables}, "panels": panels}
