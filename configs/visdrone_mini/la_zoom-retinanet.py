# ZoomInNet's LA: predictions on a grid twice as fine, as the teacher's maps are.
_base_ = './zoom-retinanet_student.py'
model = dict(bbox_head=dict(type='aerialkd.LARetinaHead', upsample=2))
