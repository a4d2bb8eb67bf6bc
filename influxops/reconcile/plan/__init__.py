"""From what should be and what is to one TenantPlan a tenant."""
