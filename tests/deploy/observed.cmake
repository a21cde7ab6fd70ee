# SPDX-License-Identifier: Apache-2.0
#
# Prometheus, Grafana and clients of other languages.
leaseplane_add_python_test(
  NAME integration_rules SCRIPT ${CMAKE_CURRENT_SOURCE_DIR}/rules_test.py)

# The examples are run by the commands of their own READMEs; Python's needs nothing but group core.
leaseplane_add_python_test(
  NAME integration_example_python SCRIPT ${CMAKE_CURRENT_SOURCE_DIR}/examples_test.py ARGS python)

foreach(language node go java ruby)
  leaseplane_add_python_test(
    NAME deploy_example_${language} SCRIPT ${CMAKE_CURRENT_SOURCE_DIR}/examples_test.py
    ARGS ${language} LABEL deploy TIMEOUT 900)
endforeach()
leaseplane_add_python_test(
  NAME deploy_prometheus SCRIPT ${CMAKE_CURRENT_SOURCE_DIR}/prometheus_test.py
  LABEL deploy TIMEOUT 900)
leaseplane_add_python_test(
  NAME deploy_alerts SCRIPT ${CMAKE_CURRENT_SOURCE_DIR}/alerts_fire_test.py LABEL deploy)
set(grafana SCRIPT ${CMAKE_CURRENT_SOURCE_DIR}/grafana_test.py TIMEOUT 900
            ENV LEASEPLANE_WORK_DIR=${PROJECT_BINARY_DIR}/deploy)
leaseplane_add_python_test(
  NAME deploy_dashboards ${grafana} LABEL "deploy;manifests" ARGS DashboardFilesTest)
leaseplane_add_python_test(NAME deploy_grafana ${grafana} LABEL deploy ARGS PicturesTest)
leaseplane_add_python_test(
  NAME deploy_docs SCRIPT ${CMAKE_CURRENT_SOURCE_DIR}/docs_test.py LABEL deploy)
