"""Which projects the server serves, and what it holds of each."""

from fastapi import APIRouter, Response, status

from agent_brain_server.api.deps import Activity, Projects
from agent_brain_server.models.status import (
    ProjectInfo,
    ProjectList,
    ProjectRegistration,
    ProjectStatus,
    UnregisteredProject,
)

router = APIRouter(prefix="/projects", tags=["projects"])


@router.get("")
def list_projects(projects: Projects, activity: Activity) -> ProjectList:
    """List the projects that are registered with the shared daemon."""
    return ProjectList(projects=projects.list_projects(), idle_seconds=activity.measure_unused_seconds())


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses={200: {"model": ProjectInfo, "description": "It was registered already."}},
)
def register_project(request: ProjectRegistration, projects: Projects, response: Response) -> ProjectInfo:
    """Register a project with the shared daemon, and leave a pointer to it in the project's state directory."""
    info, is_new = projects.register(request.project_root, request.state_dir)
    response.status_code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
    return info


@router.delete("/{project_id}")
def unregister_project(project_id: str, projects: Projects, forget: bool = False) -> UnregisteredProject:
    """Unregister a project; with `forget` its index is deleted too."""
    return projects.unregister(project_id, forget=forget)


@router.get("/{project_id}/status")
def project_status(project_id: str, projects: Projects) -> ProjectStatus:
    """Return in short what one project's index holds and what is being done to it."""
    with projects.lease_named(project_id) as bundle:
        return bundle.project_status()
