"""Register projects with the shared daemon, and list them."""

from fastapi import APIRouter, Response, status

from agent_brain_server.api.deps import ActivityDep, ProjectsDep
from agent_brain_server.models.status import (
    ProjectInfo,
    ProjectList,
    ProjectRegistration,
    ProjectStatus,
    UnregisteredProject,
)

router = APIRouter(prefix="/projects", tags=["projects"])


@router.get("")
def list_projects(projects: ProjectsDep, activity: ActivityDep) -> ProjectList:
    """List the projects that are registered with the shared daemon."""
    return ProjectList(projects=projects.list_projects(), idle_seconds=activity.measure_unused_seconds())


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses={200: {"model": ProjectInfo, "description": "The project was already registered."}},
)
def register_project(request: ProjectRegistration, projects: ProjectsDep, response: Response) -> ProjectInfo:
    """Register a project with the shared daemon, and write a pointer to the daemon into its state directory."""
    info, is_new = projects.register(request.project_root, request.state_dir)
    response.status_code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
    return info


@router.delete("/{project_id}")
def unregister_project(project_id: str, projects: ProjectsDep, forget: bool = False) -> UnregisteredProject:
    """Unregister a project; with `forget`, delete its index too."""
    return projects.unregister(project_id, forget=forget)


@router.get("/{project_id}/status")
def project_status(project_id: str, projects: ProjectsDep) -> ProjectStatus:
    """Return a summary of one project's index and the state of its indexing."""
    with projects.lease(project_id, exact=True) as services:
        return services.project_status()
